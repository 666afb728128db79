//! The user that the server runs as when we are root, which PostgreSQL refuses to run as.
//!
//! Used by `process`: for the server's process, and for every file that it must read.

use std::{fs, io, os::unix::fs::chown, path::Path};

use crate::Error;

/// An entry of `/etc/passwd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Account {
    pub(crate) fn find() -> Result<Self, Error> {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::among(&users).ok_or_else(|| {
            Error::new("PostgreSQL does not run as root, and there is no user postgres or nobody; run as another user")
        })
    }

    fn among(users: &str) -> Option<Self> {
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| users.lines().find_map(|line| Self::of(name, line)))
    }

    fn of(name: &str, line: &str) -> Option<Self> {
        let mut ids = line
            .strip_prefix(name)?
            .strip_prefix(':')?
            .split(':')
            .skip(1);
        Some(Self {
            user: ids.next()?.parse().ok()?,
            group: ids.next()?.parse().ok()?,
        })
    }
}

/// Makes the account the owner; nothing when we are not root.
pub(crate) fn hand_over(path: &Path, account: Option<Account>) -> io::Result<()> {
    let Some(account) = account else {
        return Ok(());
    };
    chown(path, Some(account.user), Some(account.group))
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn root_hands_over_to_postgres_or_else_to_nobody() {
        let nobody = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/bin/sh\n";
        let both = format!("{nobody}postgresql:x:7:7::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n");

        assert_eq!(
            Account::among(&both),
            Some(Account {
                user: 101,
                group: 104
            })
        );
        assert_eq!(
            Account::among(nobody),
            Some(Account {
                user: 65534,
                group: 65533
            })
        );
        assert_eq!(Account::among("root:x:0:0::/root:/bin/sh\n"), None);
    }
}
