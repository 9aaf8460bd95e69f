//! `auth_source file "F"`: users of racoon only, one a line: `user:hash[:address[:group,…]]`, the hash as crypt(3) makes
//! it. The file is read for each check, so that a new user needs no reload; it must be readable by its owner only.

use std::net::Ipv4Addr;
use std::path::Path;

use ike::event::question::{Account, PasswordCheck};
use zeroize::Zeroizing;

use super::crypt;
use crate::pki::load;

/// Is it the password of a user of this file, in one of `groups`?
///
/// # Errors
/// Why not.
pub fn check(file: &Path, check: &PasswordCheck, groups: &[String]) -> Result<Account, String> {
    let octets = load::read_private("users", file).map_err(|error| error.to_string())?;
    let text = Zeroizing::new(String::from_utf8_lossy(&octets).into_owned());
    verify(&text, check, groups).map_err(|why| format!("{}: {why}", file.display()))
}

fn verify(text: &str, check: &PasswordCheck, groups: &[String]) -> Result<Account, String> {
    let lines = text.lines().map(str::trim_end).zip(1..).filter(|(line, _)| !line.starts_with('#'));
    let of_user = |line: &str| line.split(':').next() == Some(check.user.as_str());
    let Some((line, number)) = lines.into_iter().find(|(line, _)| of_user(line)) else {
        return Err("no such user".to_owned());
    };
    let mut fields = line.split(':').skip(1);
    let hash = fields.next().unwrap_or_default();
    let address = fields.next().unwrap_or_default();
    let member_of = fields.next().unwrap_or_default();
    if !crypt::matches(&check.password, hash).map_err(|why| format!("line {number}: {why}"))? {
        return Err("wrong password".to_owned());
    }
    let member_of: Vec<String> = member_of.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
    super::admitted(&member_of, groups)?;
    let address = match address {
        "" => None,
        text => match text.parse::<Ipv4Addr>() {
            Ok(address) => Some(address),
            Err(_) => return Err(format!("line {number}: \"{text}\" is no IPv4 address")),
        },
    };
    Ok(Account { address, netmask: None, groups: member_of })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use policy::model::secret::Secret;

    use super::*;

    const FIVE: &str = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";

    fn ask(user: &str, password: &str) -> PasswordCheck {
        PasswordCheck {
            user: user.to_owned(),
            password: Secret::new(password.into()),
            peer: "192.0.2.1".parse().unwrap(),
        }
    }

    #[test]
    fn users_addresses_and_groups() {
        let text = format!("# users\ncarol:{FIVE}:10.3.0.7:vpn,staff\ndave:{FIVE}\nerin:{FIVE}:nowhere\nnobody:!\n");
        let groups = vec!["vpn".to_owned()];
        let good = "Hello world!";
        assert_eq!(
            verify(&text, &ask("carol", good), &groups),
            Ok(Account {
                address: Some([10, 3, 0, 7].into()),
                netmask: None,
                groups: vec!["vpn".to_owned(), "staff".to_owned()]
            })
        );
        assert_eq!(verify(&text, &ask("dave", good), &[]), Ok(Account::default()));
        assert!(verify(&text, &ask("dave", good), &groups).is_err());
        assert!(verify(&text, &ask("carol", "wrong"), &[]).is_err_and(|why| why == "wrong password"));
        assert!(verify(&text, &ask("erin", good), &[]).is_err_and(|why| why.contains("line 4")));
        assert!(verify(&text, &ask("nobody", ""), &[]).is_err());
        assert!(verify(&text, &ask("# users", ""), &[]).is_err());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, format!("carol:{FIVE}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(check(&path, &ask("carol", "Hello world!"), &[]).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(check(&path, &ask("carol", "Hello world!"), &[]).is_ok());
    }
}
