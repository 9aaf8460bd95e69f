//! Asking for a password: at the terminal without an echo, else the first line of standard input.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Octets of the longest password.
const LONGEST: u64 = 1024;

/// Asks, and waits for a line.
///
/// # Errors
/// There is nobody to answer, or the line is empty or too long.
pub fn ask(prompt: &str) -> io::Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        return first_line(io::stdin().lock());
    }
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(prompt.as_bytes())?;
    let quiet = Quiet::begin(terminal.try_clone()?)?;
    let line = first_line(BufReader::new(&terminal));
    drop(quiet);
    terminal.write_all(b"\n")?;
    line
}

fn first_line(from: impl BufRead) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    let length = from.take(LONGEST).read_line(&mut line)?;
    let end = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(end);
    if line.is_empty() || u64::try_from(length).is_ok_and(|length| length >= LONGEST) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a line of 1 to 1023 octets is wanted"));
    }
    Ok(line)
}

/// A terminal that does not echo, until this is dropped.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn begin(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _gone = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        assert_eq!(first_line(&b"se cret \r\nmore\n"[..]).unwrap().as_str(), "se cret ");
        assert_eq!(first_line(&b"secret"[..]).unwrap().as_str(), "secret");
        assert!(first_line(&b"\n"[..]).is_err());
        assert!(first_line(&vec![b'x'; 5000][..]).is_err());
    }
}
