//! What has changed since a page of the list of jobs was made. The list never moves by itself: its rows are brought up to
//! date where they stand, and it says how many jobs came in front of them, until the visitor wants to see those.
//!
//! A page carries an address that asks for this: the ids of its rows, and the place of the first of them.

use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, Cursor, Filter, Page, Summary};
use pgqueue_core::stats::Count;
use pgqueue_core::{Error, JobState};

use crate::filter::{Term, Terms};
use crate::problem::Problem;
use crate::show;
use crate::visit::Visit;

/// Most jobs that are counted: who sees `99+` does not count them either.
const COUNTED: u16 = 99;
/// Most rows that a page has.
const ROWS: usize = 100;

/// What a page showed when it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    ids: Vec<i64>,
    /// What is in front of this is new; none: nothing is counted.
    since: Option<Since>,
}

/// Where the page began.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Since {
    /// It had no rows.
    Nothing,
    Place(Cursor),
}

/// What changed since.
#[derive(Debug, Default)]
pub(super) struct News {
    newer: Option<Count>,
    /// Rows that are not in the state that the list is of.
    left: usize,
    state: Option<JobState>,
    /// Rows whose job is gone.
    gone: usize,
}

impl Shown {
    /// Notes what a page shows. New jobs are counted for its first page, and where they come in front: pending and running
    /// jobs are listed in an order that is not one of age.
    pub(super) fn on(page: &Page, terms: &Terms, filter: &Filter, is_first: bool) -> Self {
        let is_of_age = match terms.state() {
            Some(state) => state.is_terminal(),
            None => !terms.iter().any(|term| matches!(term, Term::Worker(_))), // of running jobs
        };
        let place = |job: &Summary| job.place(filter).map(Since::Place);
        let since = match page.jobs.first() {
            _ if !is_first || !is_of_age => None,
            None if page.stopped.is_some() => None,
            None => Some(Since::Nothing),
            Some(job) => place(job),
        };
        Self {
            ids: page.jobs.iter().map(|job| job.id).collect(),
            since,
        }
    }

    /// Reads what the address of a page's news says.
    pub(super) fn parse(ids: &str, since: Option<&str>) -> Result<Self, Problem> {
        let ids = ids.split(',').take(ROWS);
        let since = match since {
            None => None,
            Some("") => Some(Since::Nothing),
            Some(place) => Some(Since::Place(place.parse()?)),
        };
        Ok(Self {
            ids: ids.filter_map(|id| id.parse().ok()).collect(),
            since,
        })
    }

    /// Writes it as parts of an address.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let ids: Vec<String> = self.ids.iter().map(ToString::to_string).collect();
        let since = self.since.as_ref().map(|since| match since {
            Since::Nothing => String::new(),
            Since::Place(place) => place.to_string(),
        });
        let since = since.map(|since| ("since", since));
        [("shown", ids.join(","))]
            .into_iter()
            .chain(since)
            .collect()
    }

    /// Reads the rows as they are now, in the order in which they were shown, and what is new.
    pub(super) async fn read(
        &self,
        visit: &Visit,
        terms: &Terms,
        filter: Filter,
    ) -> Result<(Page, News), Problem> {
        let ids = self.ids.clone();
        let counted = self.since.clone().map(|since| {
            let find = admin::find(filter).size(COUNTED);
            match since {
                Since::Nothing => find,
                Since::Place(place) => find.at(place),
            }
        });
        let read = visit.database().read(move |conn| {
            async move {
                let rows = admin::find(ids).size(COUNTED + 1);
                let newer = match counted {
                    Some(find) => Some(find.count_ahead_async(conn).await?),
                    None => None,
                };
                Ok::<_, Error>((rows.run_async(conn).await?, newer))
            }
            .boxed()
        });
        let (mut page, newer) = read.await?;
        let place = |job: &Summary| self.ids.iter().position(|id| *id == job.id);
        page.jobs.sort_by_key(place);
        let left = |job: &&Summary| terms.state().is_some_and(|state| state != job.state);
        let news = News {
            newer,
            left: page.jobs.iter().filter(left).count(),
            state: terms.state(),
            gone: self.ids.len().saturating_sub(page.jobs.len()),
        };
        Ok((page, news))
    }
}

impl News {
    /// Says what changed; none: nothing did.
    pub(super) fn text(&self) -> Option<String> {
        let newer = self.newer.filter(|count| count.at_least > 0);
        let newer = newer.map(|count| format!("{} newer", show::at_least(count)));
        let state = self.state.filter(|_| self.left > 0);
        let left = state.map(|state| format!("{} no longer {state}", self.left));
        let gone = (self.gone > 0).then(|| format!("{} gone", self.gone));
        let parts: Vec<String> = [newer, left, gone].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_showed_comes_back_from_its_address() {
        let place: Cursor = "oi.7.0.5.".parse().unwrap();
        for since in [None, Some(Since::Nothing), Some(Since::Place(place))] {
            let shown = Shown {
                ids: vec![7, 3],
                since,
            };
            let query = shown.query();
            let since = query.get(1).map(|(_, since)| since.as_str());

            assert_eq!(Shown::parse(&query[0].1, since).unwrap(), shown);
        }
        assert_eq!(Shown::parse("", None).unwrap(), Shown::default());
        assert!(Shown::parse("1", Some("moon")).is_err());
        let many = vec!["1"; 5000].join(",");
        assert_eq!(Shown::parse(&many, None).unwrap().ids.len(), ROWS);
    }

    #[test]
    fn news_are_told_in_a_line_and_none_are_not() {
        let news = |newer, left, gone| News {
            newer: Some(Count {
                at_least: newer,
                exact: newer < 99,
            }),
            left,
            state: Some(JobState::Dead),
            gone,
        };
        assert_eq!(news(0, 0, 0).text(), None);
        assert_eq!(news(12, 0, 0).text().unwrap(), "12 newer");
        assert_eq!(
            news(99, 3, 1).text().unwrap(),
            "99+ newer, 3 no longer dead, 1 gone"
        );
    }
}
