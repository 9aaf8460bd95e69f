//! Users and groups by name: who may use a socket, who may revoke, whom to become.

use std::io;

use nix::unistd::{Group, User};

/// The number of a user.
///
/// # Errors
/// There is no such user ([`io::ErrorKind::NotFound`]), or the system's.
pub fn user_id(name: &str) -> io::Result<u32> {
    found(User::from_name(name)?.map(|user| user.uid.as_raw()), "user", name)
}

/// The number of a group.
///
/// # Errors
/// As of [`user_id`].
pub fn group_id(name: &str) -> io::Result<u32> {
    found(Group::from_name(name)?.map(|group| group.gid.as_raw()), "group", name)
}

/// The user that `name` or a number names, and the group that it has by itself.
///
/// # Errors
/// As of [`user_id`]; also for a number that no user has, for then there is no group.
pub fn user_and_group(name: &str) -> io::Result<(u32, u32)> {
    let user = match name.parse::<u32>() {
        Ok(number) => User::from_uid(number.into())?,
        Err(_) => User::from_name(name)?,
    };
    let numbers = user.map(|user| (user.uid.as_raw(), user.gid.as_raw()));
    numbers.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no user \"{name}\"")))
}

fn found(number: Option<u32>, kind: &str, name: &str) -> io::Result<u32> {
    number.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no {kind} \"{name}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_or_said_to_be_none() {
        assert_eq!((user_id("root").unwrap(), group_id("root").unwrap()), (0, 0));
        let error = group_id("nobody-of-this-name").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "there is no group \"nobody-of-this-name\"");
    }
}
