//! Why a subcommand did not do what was asked, and the exit code that says so.

use std::fmt;

use xfrm::batch::Refusal;

use crate::control::CallError;
use crate::exit_code::Exit;
use crate::revocation::deny_list::DenyListError;
use crate::revocation::issuer::IssuerError;
use crate::revocation::journal::JournalError;
use crate::revocation::revoke::{RevokeError, Shortfall};
use crate::revocation::serial::SerialError;

/// A text for people and a code for scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// The text.
    pub text: String,
}

impl Failure {
    /// A failure.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(error.exit(), error.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let exit = if refusal.errno == libc::EPERM { Exit::NotPermitted } else { Exit::NotSo };
        Self::new(exit, refusal.to_string())
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let exit = match &error {
            JournalError::Io { error, .. } => of_io(error),
            _ => Exit::NotSo,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<DenyListError> for Failure {
    fn from(error: DenyListError) -> Self {
        Self::new(of_deny_list(&error), error.to_string())
    }
}

impl From<IssuerError> for Failure {
    fn from(error: IssuerError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

impl From<SerialError> for Failure {
    fn from(error: SerialError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

impl From<RevokeError> for Failure {
    fn from(error: RevokeError) -> Self {
        let exit = match &error {
            RevokeError::Ambiguous { .. } | RevokeError::UnknownIssuer(_) => Exit::Usage,
            RevokeError::InPart { shortfalls, .. } => {
                shortfalls.iter().map(of_shortfall).find(|exit| *exit == Exit::NotPermitted).unwrap_or(Exit::NotSo)
            }
        };
        Self::new(exit, error.to_string())
    }
}

fn of_shortfall(shortfall: &Shortfall) -> Exit {
    match shortfall {
        Shortfall::NotKept(error) => of_deny_list(error),
        Shortfall::Cut(cut) if cut.denied => Exit::NotPermitted,
        Shortfall::Cut(_) => Exit::NotSo,
    }
}

fn of_deny_list(error: &DenyListError) -> Exit {
    match error {
        DenyListError::Io { error, .. } => of_io(error),
        DenyListError::TooLong => Exit::NotSo,
    }
}

fn of_io(error: &std::io::Error) -> Exit {
    if error.kind() == std::io::ErrorKind::PermissionDenied { Exit::NotPermitted } else { Exit::NotSo }
}
