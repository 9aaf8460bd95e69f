//! Exit codes of our programs: what a script can rely on.
//!
//! `xfrmctl` keeps to this page; `xfrmd` keeps racoon's habit instead (0 at a normal end, 1 for everything else).

use std::process::ExitCode;

/// How a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// What was asked for is not so: no such peer, nothing matched, the configuration has errors.
    NotSo,
    /// The command line is wrong.
    Usage,
    /// The daemon is needed and cannot be reached (EX_UNAVAILABLE).
    Unavailable,
    /// Not permitted (EX_NOPERM).
    NotPermitted,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotSo => 1,
            Self::Usage => 2,
            Self::Unavailable => 69,
            Self::NotPermitted => 77,
        }
    }

    /// By the number, as it travels over the control socket; unknown numbers mean [`Exit::NotSo`].
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Done,
            2 => Self::Usage,
            69 => Self::Unavailable,
            77 => Self::NotPermitted,
            _ => Self::NotSo,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
