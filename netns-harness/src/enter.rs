//! Moving into namespaces. The only file with `unsafe`: the standard library marks the hook between fork and exec so, and
//! rustix the call that leaves namespaces.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::failure::{During, Result};

/// Has a command run in these namespaces. It is entered between fork and exec, which spares a process: in a user-mode
/// kernel starting one takes a tenth of a second.
pub fn run_in(command: &mut Command, netns: Arc<OwnedFd>, mounts: Option<Arc<OwnedFd>>) {
    let enter = move || {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
        if let Some(mounts) = &mounts {
            move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe things may be done; the closure makes two system calls and
    // neither allocates nor locks.
    unsafe {
        command.pre_exec(enter);
    }
}

/// Gives this process network and mount namespaces of its own.
///
/// # Errors
/// When the kernel refuses, usually for want of privilege.
pub fn leave_for_new() -> Result<()> {
    // SAFETY: the file descriptor table, which is what makes this unsafe, stays shared: FILES is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET) }.during("making namespaces")
}
