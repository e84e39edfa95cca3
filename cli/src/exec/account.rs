//! Users and groups of a guest, by its /etc/passwd and /etc/group (passwd(5), group(5)).

use crate::error::{Error, Result};

/// A user of the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home directory, if it is known.
    pub home: Option<String>,
    /// The shell, if it is known.
    pub shell: Option<String>,
}

/// The lines of a file with fields between colons.
fn lines(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().map(|line| line.split(':').collect())
}

impl Account {
    /// The user that the image's program runs as.
    pub fn of_ids(uid: u32, gid: u32, passwd: &str) -> Account {
        let mut account = Account { uid, gid, ..Account::default() };
        account.find(passwd, |fields| fields[2].parse() == Ok(uid));
        account
    }

    /// The user that `text` names, as `docker exec -u` has it: `USER` or `USER:GROUP`, names or numbers. A number that no user
    /// has is of a user in group 0.
    ///
    /// # Errors
    /// If there is no such user or group.
    pub fn parse(text: &str, passwd: &str, group: &str) -> Result<Account> {
        let (user, own_group) =
            text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let mut account = Account::default();
        let number: Option<u32> = user.parse().ok();
        let name = account.find(passwd, |fields| {
            fields[0] == user || (number.is_some() && fields[2].parse().ok() == number)
        });
        match (&name, number) {
            (None, Some(number)) => account.uid = number,
            (None, None) => {
                return Err(Error::new(format!("the guest has no user `{user}`"))
                    .why("its /etc/passwd does not name one")
                    .help("give a number"));
            }
            (Some(_), _) => {}
        }
        match own_group {
            Some(group_name) => {
                let by_name = lines(group).find(|fields| fields.len() > 2 && fields[0] == group_name);
                let number = by_name.and_then(|fields| fields[2].parse().ok()).or(group_name.parse().ok());
                account.gid = number.ok_or_else(|| {
                    Error::new(format!("the guest has no group `{group_name}`")).help("give a number")
                })?;
            }
            None => {
                let is_member = |fields: &Vec<&str>| {
                    name.as_ref().is_some_and(|name| {
                        fields.len() > 3 && fields[3].split(',').any(|member| member == name)
                    })
                };
                account.groups =
                    lines(group).filter(is_member).filter_map(|fields| fields[2].parse().ok()).collect();
            }
        }
        Ok(account)
    }

    /// Takes over what the first line says that fits; returns the user's name.
    fn find(&mut self, passwd: &str, fits: impl Fn(&[&str]) -> bool) -> Option<String> {
        let fields = lines(passwd).find(|fields| fields.len() > 6 && fits(fields))?;
        self.uid = fields[2].parse().ok()?;
        // That of the image's program may differ.
        if self.gid == 0 {
            self.gid = fields[3].parse().ok()?;
        }
        self.home = Some(fields[5].to_owned()).filter(|home| !home.is_empty());
        self.shell = Some(fields[6].to_owned()).filter(|shell| !shell.is_empty());
        Some(fields[0].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nweb:x:33:34:web:/var/www:\nodd\n";
    const GROUP: &str = "root:x:0:\ntape:x:26:web,other\nadm:x:4:other\nextra:x:7:web\n";

    fn account(text: &str) -> Result<Account> {
        Account::parse(text, PASSWD, GROUP)
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let web =
            Account { uid: 33, gid: 34, groups: vec![26, 7], home: Some("/var/www".to_owned()), shell: None };
        assert_eq!(account("web").ok().as_ref(), Some(&web));
        assert_eq!(account("33").ok().as_ref(), Some(&web));
        assert_eq!(account("web:tape").ok().map(|found| (found.gid, found.groups)), Some((26, vec![])));
        assert_eq!(account("77:5").ok().map(|found| (found.uid, found.gid)), Some((77, 5)));
        assert_eq!(account("77").ok().map(|found| (found.uid, found.gid)), Some((77, 0)));
        assert!(account("nobody").is_err() && account("web:none").is_err());
    }
}
