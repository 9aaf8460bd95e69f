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
    /// `-V`.
    Version,
    /// `-h`, `-?`.
    Help,
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
    /// `-l`: with `-D`, short lines for ever.
    pub forever: bool,
    /// `-n`: look at the script, change nothing.
    pub dry: bool,
    /// `-v`: print what is asked of the kernel.
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
    /// Something the original does with PF_KEY messages.
    #[error("-x shows PF_KEY messages, which we do not use: `xfrmctl monitor` shows what changes in the kernel")]
    Promiscuous,
    /// Files of raw messages.
    #[error("`{0}`: files of recorded PF_KEY messages cannot be shown; use -f FILE for a script")]
    Recording(String),
}

impl Options {
    /// Takes the arguments apart, without the program's name. The last of `-c`, `-f`, `-D`, `-F` counts.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, OptionsError> {
        let mut task = None;
        let mut options = Self {
            task: Task::Help,
            policies: false,
            ports: false,
            forever: false,
            dry: false,
            verbose: false,
            no_sockets: false,
            mode: PolicyMode::default(),
        };
        let mut args = args.into_iter();
        let mut file = None;
        while let Some(arg) = args.next() {
            let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                file.get_or_insert(arg);
                continue;
            };
            if letters == "-" {
                file = file.or_else(|| args.next());
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
                    'x' => return Err(OptionsError::Promiscuous),
                    letter => options.switch(letter)?,
                }
            }
        }
        match (task, file) {
            (Some(task), _) => Ok(Self { task, ..options }),
            (None, Some(file)) => Err(OptionsError::Recording(file)),
            (None, None) => Err(OptionsError::Nothing),
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
            // Dead SAs are never listed by Linux; hexadecimal dumps belonged to -x; debugging was the parser's.
            'a' | 'H' | 'd' => {}
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
       setkey [-V] [-h]
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
        assert_eq!(parse("-x"), Err(OptionsError::Promiscuous));
        assert_eq!(parse("dump.bin"), Err(OptionsError::Recording("dump.bin".into())));
    }
}
