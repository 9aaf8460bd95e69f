//! setkey's command line: single letters, as getopt reads them.

use thiserror::Error;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// `-c`: the script comes from standard input.
    Stdin,
    /// `-f FILE`.
    File(String),
    /// `-D`: print SAs, with `-P` policies.
    Dump,
    /// `-F`: remove all SAs, with `-P` all policies.
    Flush,
    /// `-x`, `-xx`: print what happens.
    Listen(Stamp),
    /// `FILE...` alone: print the PF_KEY messages recorded in them.
    Recordings(Vec<String>),
    /// `-V`.
    Version,
    /// `-h`, `-?`.
    Help,
}

/// What stands in front of each message of `-x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// `-x`: the time of day.
    Clock,
    /// `-xx`: seconds since 1970.
    Raw,
}

/// Does an `in` policy bring its `fwd` twin along?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyMode {
    /// `-r`, the default: yes, as RFC 4301 knows no difference between the two.
    #[default]
    Rfc,
    /// `-k`: no, as the kernel's own directions.
    Kernel,
}

/// A command line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What to do.
    pub task: Task,
    /// `-P`: with `-D` and `-F`, policies instead of SAs.
    pub policies: bool,
    /// `-p`: print ports of addresses.
    pub ports: bool,
    /// `-a`: with `-D`, dead SAs too.
    pub all: bool,
    /// `-l`: with `-D`, short lines for ever.
    pub forever: bool,
    /// `-n`: look at the script, change nothing.
    pub dry: bool,
    /// `-H`: with `-x`, the octets too.
    pub hex: bool,
    /// `-v`: print what is asked of the kernel and what it answers.
    pub verbose: bool,
    /// `-N`: with `-DP`, no policies of sockets.
    pub no_sockets: bool,
    /// `-r`, `-k`.
    pub mode: PolicyMode,
}

/// A command line that is none of ours. Every one ends with exit code 1, as the original's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// Nothing to do.
    #[error("nothing to do: give -c, -f FILE, -D or -F")]
    Nothing,
    /// An unknown letter.
    #[error("invalid option -- '{0}'")]
    Unknown(char),
    /// A letter without its value.
    #[error("option requires an argument -- '{0}'")]
    Missing(char),
}

impl Options {
    /// Takes the arguments apart, without the program's name. The last of `-c`, `-f`, `-D`, `-F` counts.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, OptionsError> {
        let mut task = None;
        let mut options = Self {
            task: Task::Help,
            policies: false,
            ports: false,
            all: false,
            forever: false,
            dry: false,
            hex: false,
            verbose: false,
            no_sockets: false,
            mode: PolicyMode::default(),
        };
        let mut args = args.into_iter();
        let mut files = Vec::new();
        while let Some(arg) = args.next() {
            let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                files.push(arg);
                continue;
            };
            if letters == "-" {
                files.extend(args);
                break;
            }
            let mut rest = letters.chars();
            while let Some(letter) = rest.next() {
                match letter {
                    'f' => {
                        let value = rest.as_str();
                        let value = if value.is_empty() { args.next() } else { Some(value.to_owned()) };
                        task = Some(Task::File(value.ok_or(OptionsError::Missing('f'))?));
                        break;
                    }
                    'c' => task = Some(Task::Stdin),
                    'D' => task = Some(Task::Dump),
                    'F' => task = Some(Task::Flush),
                    'V' => task = Some(Task::Version),
                    'h' | '?' => task = Some(Task::Help),
                    'x' if matches!(task, Some(Task::Listen(_))) => task = Some(Task::Listen(Stamp::Raw)),
                    'x' => task = Some(Task::Listen(Stamp::Clock)),
                    letter => options.switch(letter)?,
                }
            }
        }
        match task {
            Some(task) => Ok(Self { task, ..options }),
            None if files.is_empty() => Err(OptionsError::Nothing),
            None => Ok(Self { task: Task::Recordings(files), ..options }),
        }
    }

    fn switch(&mut self, letter: char) -> Result<(), OptionsError> {
        match letter {
            'P' => self.policies = true,
            'p' => self.ports = true,
            'l' => self.forever = true,
            'n' => self.dry = true,
            'v' => self.verbose = true,
            'N' => self.no_sockets = true,
            'r' => self.mode = PolicyMode::Rfc,
            'k' => self.mode = PolicyMode::Kernel,
            'H' => self.hex = true,
            'a' => self.all = true,
            // Debugging of the parser's.
            'd' => {}
            other => return Err(OptionsError::Unknown(other)),
        }
        Ok(())
    }
}

/// What `-h` prints.
pub const USAGE: &str = "\
usage: setkey [-nrkv] -c
       setkey [-nrkv] -f filename
       setkey [-alpPNv] -D
       setkey [-Pv] -F
       setkey [-H] -x
       setkey [-V] [-h]
       setkey file ...
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, OptionsError> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn letters_stand_together_or_apart() {
        let dump = parse("-DP").expect("a dump");
        assert_eq!((dump.task.clone(), dump.policies), (Task::Dump, true));
        assert_eq!(parse("-D -P"), Ok(dump));
        assert_eq!(
            parse("-nf x.conf").map(|options| (options.task, options.dry)),
            Ok((Task::File("x.conf".into()), true))
        );
        assert_eq!(parse("-fx.conf").map(|options| options.task), Ok(Task::File("x.conf".into())));
        assert_eq!(parse("-f -").map(|options| options.task), Ok(Task::File("-".into())));
        assert_eq!(parse("-k -c").map(|options| options.mode), Ok(PolicyMode::Kernel));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parse(""), Err(OptionsError::Nothing));
        assert_eq!(parse("-v"), Err(OptionsError::Nothing));
        assert_eq!(parse("-DZ"), Err(OptionsError::Unknown('Z')));
        assert_eq!(parse("-f"), Err(OptionsError::Missing('f')));
    }

    #[test]
    fn listening_and_recordings() {
        let task = |line: &str| parse(line).map(|options| options.task);
        assert_eq!(task("-x"), Ok(Task::Listen(Stamp::Clock)));
        assert_eq!(task("-xx"), Ok(Task::Listen(Stamp::Raw)));
        assert_eq!(task("-x -x"), Ok(Task::Listen(Stamp::Raw)));
        assert_eq!(parse("-Hx").map(|options| options.hex), Ok(true));
        assert_eq!(task("a.bin b.bin"), Ok(Task::Recordings(vec!["a.bin".into(), "b.bin".into()])));
        assert_eq!(task("-- -x"), Ok(Task::Recordings(vec!["-x".into()])));
    }
}
