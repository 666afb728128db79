//! What every page shows around its content, and how it writes times, lengths and counts.

use chrono::{DateTime, FixedOffset, Utc};

use crate::access::Permissions;
use crate::cookies::Preferences;
use crate::show::{self, Moment};

/// The parts of the site, as the navigation lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Jobs,
    Dead,
    Queues,
    Kinds,
    Workers,
    Bulk,
    Postgres,
    Audit,
    Settings,
    None,
}

/// A link of the navigation.
pub(crate) struct Link {
    pub(crate) section: Section,
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) key: &'static str,
}

const LINKS: [Link; 10] = [
    Link {
        section: Section::Overview,
        path: "/",
        name: "Overview",
        icon: "gauge",
        key: "o",
    },
    Link {
        section: Section::Jobs,
        path: "/jobs",
        name: "Jobs",
        icon: "list",
        key: "j",
    },
    Link {
        section: Section::Dead,
        path: "/dead",
        name: "Dead",
        icon: "dead",
        key: "d",
    },
    Link {
        section: Section::Queues,
        path: "/queues",
        name: "Queues",
        icon: "queue",
        key: "q",
    },
    Link {
        section: Section::Kinds,
        path: "/kinds",
        name: "Kinds",
        icon: "kind",
        key: "k",
    },
    Link {
        section: Section::Workers,
        path: "/workers",
        name: "Workers",
        icon: "worker",
        key: "w",
    },
    Link {
        section: Section::Bulk,
        path: "/bulk",
        name: "Bulk operations",
        icon: "bulk",
        key: "b",
    },
    Link {
        section: Section::Postgres,
        path: "/postgres",
        name: "PostgreSQL",
        icon: "database",
        key: "p",
    },
    Link {
        section: Section::Audit,
        path: "/audit",
        name: "Audit",
        icon: "audit",
        key: "a",
    },
    Link {
        section: Section::Settings,
        path: "/settings",
        name: "Settings",
        icon: "settings",
        key: "s",
    },
];

/// What a template needs for the layout.
pub(crate) struct Frame {
    pub(crate) base: String,
    pub(crate) assets: String,
    pub(crate) section: Section,
    pub(crate) title: String,
    pub(crate) actor: String,
    pub(crate) may: Permissions,
    pub(crate) read_only: bool,
    pub(crate) environment: Option<String>,
    pub(crate) preferences: Preferences,
    pub(crate) notice: Option<String>,
    pub(crate) here: String,
    /// Dead jobs, as the latest snapshot had them.
    pub(crate) dead: Option<String>,
    pub(crate) now: DateTime<Utc>,
}

impl Frame {
    /// Gives the pages that the actor may see; somebody who was not let in is not even told what there is.
    pub(crate) fn links(&self) -> impl Iterator<Item = &'static Link> {
        let may = self.may;
        LINKS.iter().filter(move |link| match link.section {
            Section::Audit => may.contains(Permissions::AUDIT),
            _ => may.contains(Permissions::VIEW),
        })
    }

    pub(crate) fn may_requeue(&self) -> bool {
        self.may.contains(Permissions::REQUEUE)
    }

    pub(crate) fn may_cancel(&self) -> bool {
        self.may.contains(Permissions::CANCEL)
    }

    pub(crate) fn may_purge(&self) -> bool {
        self.may.contains(Permissions::PURGE)
    }

    pub(crate) fn may_edit(&self) -> bool {
        self.may.contains(Permissions::EDIT)
    }

    pub(crate) fn may_pause(&self) -> bool {
        self.may.contains(Permissions::PAUSE)
    }

    pub(crate) fn may_see_payloads(&self) -> bool {
        self.may.contains(Permissions::VIEW_PAYLOAD)
    }

    /// Writes a time as `<time>`: relative, with the exact one as its title.
    pub(crate) fn ago(&self, at: &DateTime<Utc>) -> Moment {
        Moment {
            at: *at,
            now: self.now,
            zone: self.zone(),
            relative: true,
        }
    }

    /// Writes a time as `<time>`, exact.
    pub(crate) fn at(&self, at: &DateTime<Utc>) -> Moment {
        Moment {
            at: *at,
            now: self.now,
            zone: self.zone(),
            relative: false,
        }
    }

    /// Writes a length of time in its two largest units.
    #[expect(clippy::unused_self, reason = "templates reach it through the frame")]
    pub(crate) fn span(&self, length: &std::time::Duration) -> String {
        show::span(*length)
    }

    /// Writes a count with separators: `12 345`.
    #[expect(clippy::unused_self, reason = "templates reach it through the frame")]
    pub(crate) fn count(&self, count: impl std::borrow::Borrow<i64>) -> String {
        show::count(*count.borrow())
    }

    pub(crate) fn zone(&self) -> FixedOffset {
        FixedOffset::east_opt(self.preferences.offset_minutes * 60).unwrap_or_else(show::utc)
    }
}
