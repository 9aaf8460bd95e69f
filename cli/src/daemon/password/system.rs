//! `auth_source system`: /etc/shadow; and the groups of /etc/group.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ike::event::question::PasswordCheck;
use policy::model::secret::Secret;
use zeroize::Zeroizing;

use super::crypt;

/// Seconds of a day, in which /etc/shadow counts.
const DAY: u64 = 86_400;

/// Is it the password of an account that may be used?
///
/// # Errors
/// Why not.
pub fn check(check: &PasswordCheck) -> Result<(), String> {
    let text =
        std::fs::read_to_string("/etc/shadow").map(Zeroizing::new).map_err(|why| format!("/etc/shadow: {why}"))?;
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY;
    verify(&text, &check.user, &check.password, today)
}

fn verify(shadow: &str, user: &str, password: &Secret, today: u64) -> Result<(), String> {
    let line = shadow.lines().find(|line| line.split(':').next() == Some(user)).ok_or("no such user")?;
    let fields: Vec<&str> = line.split(':').collect();
    let expires = fields.get(7).and_then(|field| field.parse::<u64>().ok());
    if !crypt::matches(password, fields.get(1).copied().unwrap_or_default())? {
        return Err("wrong password".to_owned());
    }
    match expires {
        Some(day) if day <= today => Err("the account has expired".to_owned()),
        _ => Ok(()),
    }
}

/// The groups of a user.
///
/// # Errors
/// /etc/passwd or /etc/group cannot be read.
pub fn groups(user: &str) -> Result<Vec<String>, String> {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).map_err(|why| format!("{path}: {why}"));
    let primary = |passwd: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
        line.split(':').nth(3).map(str::to_owned)
    };
    let primary = primary(&read("/etc/passwd")?);
    Ok(groups_of(&read("/etc/group")?, user, primary.as_deref()))
}

fn groups_of(groups: &str, user: &str, primary: Option<&str>) -> Vec<String> {
    let of_user = |line: &str| {
        let mut fields = line.split(':');
        let (name, id, members) = (fields.next()?, fields.nth(1), fields.next().unwrap_or_default());
        let is_member = members.split(',').any(|member| member == user) || (id.is_some() && id == primary);
        is_member.then(|| name.to_owned())
    };
    groups.lines().filter_map(of_user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHADOW: &str = "root:*:19000:0:99999:7:::
carol:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5:19000:0:99999:7:::
dave:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5:19000:0:99999:7::20000:
";

    #[test]
    fn accounts_of_shadow() {
        let ask = |user: &str, password: &str| verify(SHADOW, user, &Secret::new(password.into()), 20_000);
        assert_eq!(ask("carol", "Hello world!"), Ok(()));
        assert!(ask("carol", "hello").is_err_and(|why| why == "wrong password"));
        assert!(ask("dave", "Hello world!").is_err_and(|why| why.contains("expired")));
        assert!(ask("root", "").is_err());
        assert!(ask("car", "Hello world!").is_err(), "a prefix is no user");
    }

    #[test]
    fn groups_by_name_and_by_number() {
        let groups = "vpn:x:100:carol,dave\nstaff:x:50:\n";
        assert_eq!(groups_of(groups, "carol", None), ["vpn"]);
        assert_eq!(groups_of(groups, "carol", Some("50")), ["vpn", "staff"]);
        assert!(groups_of(groups, "erin", Some("51")).is_empty());
        assert!(groups_of(groups, "car", None).is_empty());
    }
}
