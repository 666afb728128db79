//! Lists of jobs, a page at a time: at any depth a page costs the same, and none looks at more than 10,000 jobs.

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;

use super::Filter;
use super::cursor::Cursor;
use super::search::{Found, Search, order_of};
use super::walk::{Order, Place};
use crate::error::{Error, ErrorKind};
use crate::sql::operators::Summaries;
use crate::state::JobState;
use crate::stats::Count;

/// Jobs that a statement looks at: some ten milliseconds from memory.
const WINDOW: i64 = 5_000;
/// Statements for a page: what matches little is answered with how far the search came, not with a page that takes seconds.
const STATEMENTS: usize = 2;
/// Running jobs are sorted, not walked by an index: all are looked at, as far as workers have slots.
const RUNNING: i64 = 100_000;
/// Longest page.
const PAGE_LIMIT: u16 = 1000;

/// Starts a list of the jobs that match: dead, cancelled and completed ones by when they ended, the last first; pending
/// ones in the order of claims; running ones by when they began; without a state, the newest first. Reads only.
///
/// ```no_run
/// use pgqueue_core::JobState;
/// use pgqueue_core::admin::{self, Filter};
/// # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), pgqueue_core::Error> {
/// let dead = Filter::new().state(JobState::Dead).kind("send_receipt");
/// let first = admin::find(dead.clone()).size(50).run(conn)?;
/// if let Some(older) = first.older {
///     let second = admin::find(dead).size(50).at(older).run(conn)?;
/// }
/// # Ok(()) }
/// ```
pub fn find(filter: impl Into<Filter>) -> Find {
    Find {
        filter: filter.into(),
        size: 50,
        at: None,
        visits: None,
    }
}

/// A list; nothing is read until [`run`](Self::run) or [`run_async`](Self::run_async).
#[derive(Debug, Clone)]
#[must_use = "nothing is read until it runs"]
pub struct Find {
    filter: Filter,
    size: u16,
    at: Option<Cursor>,
    visits: Option<i64>,
}

/// A page of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// The jobs, in the order of the list.
    pub jobs: Vec<Summary>,
    /// Where the list goes on: towards jobs that ended earlier, are claimed later, or are older.
    pub older: Option<Cursor>,
    /// Where it goes back to.
    pub newer: Option<Cursor>,
    /// How many jobs were looked at.
    pub visited: i64,
    /// Set when the page is not full because enough was looked at: the list goes on behind this place.
    pub stopped: Option<Stopped>,
}

/// How far a search came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// The time that the list is ordered by, of the last job that was looked at.
    pub at: DateTime<Utc>,
    /// Its queue.
    pub queue: String,
    /// Its priority.
    pub priority: i16,
}

/// What a list tells of a job.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
pub struct Summary {
    pub id: i64,
    pub state: JobState,
    pub queue: String,
    pub kind: String,
    pub priority: i16,
    pub run_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub attempt: i32,
    pub max_retries: i32,
    pub lost: i32,
    pub claimed_by: Option<i64>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub unique_key: Option<String>,
    /// The first 200 characters of the payload's JSON.
    pub payload_start: String,
    /// The first 500 characters of the newest failure.
    pub last_error: Option<String>,
}

impl Find {
    /// At most so many jobs a page, 50 by default and 1,000 at most.
    pub fn size(mut self, size: u16) -> Self {
        self.size = size.clamp(1, PAGE_LIMIT);
        self
    }

    /// Begins where another page of the same list said.
    pub fn at(mut self, cursor: Cursor) -> Self {
        self.at = Some(cursor);
        self
    }

    /// Looks at no more than so many jobs, where fewer than usual will do.
    pub fn visit_at_most(mut self, jobs: u16) -> Self {
        self.visits = Some(i64::from(jobs));
        self
    }

    /// Reads the page, on a sync connection.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a cursor of another list and a filter out of bounds; errors of the database.
    pub fn run<C: LoadConnection<Backend = Pg>>(self, conn: &mut C) -> Result<Page, Error> {
        let mut walk = Walk::new(&self)?;
        while let Some(search) = walk.next_search() {
            walk.absorb(RunQueryDsl::load(search, conn)?);
        }
        let ids = walk.ids();
        let jobs = RunQueryDsl::load(Summaries { ids: &ids }, conn)?;
        Ok(walk.page(&ids, jobs))
    }

    /// Reads the page, on an async connection. Errors are those of [`run`](Self::run).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancellation safety
    /// It only reads.
    pub async fn run_async<C: AsyncConnectionCore<Backend = Pg>>(
        self,
        conn: &mut C,
    ) -> Result<Page, Error> {
        let mut walk = Walk::new(&self)?;
        while let Some(search) = walk.next_search() {
            walk.absorb(diesel_async::RunQueryDsl::load(search, conn).await?);
        }
        let ids = walk.ids();
        let jobs = diesel_async::RunQueryDsl::load(Summaries { ids: &ids }, conn).await?;
        Ok(walk.page(&ids, jobs))
    }

    /// Counts what matches in front of [`at`](Self::at), or at all without it, up to [`size`](Self::size): what has come
    /// since somebody read the first page. Looks at 5,000 jobs at most, the foremost first, or at all that run. On a sync connection.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn count_ahead<C: LoadConnection<Backend = Pg>>(
        self,
        conn: &mut C,
    ) -> Result<Count, Error> {
        let walk = Walk::new(&self)?;
        let found = RunQueryDsl::load(walk.search_ahead(), conn)?;
        Ok(walk.count_ahead(found))
    }

    /// Counts as [`count_ahead`](Self::count_ahead) does, on an async connection.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancellation safety
    /// It only reads.
    pub async fn count_ahead_async<C: AsyncConnectionCore<Backend = Pg>>(
        self,
        conn: &mut C,
    ) -> Result<Count, Error> {
        let walk = Walk::new(&self)?;
        let found = diesel_async::RunQueryDsl::load(walk.search_ahead(), conn).await?;
        Ok(walk.count_ahead(found))
    }
}

/// The way to a page.
struct Walk<'a> {
    find: &'a Find,
    order: Order,
    newer: bool,
    /// What matched, one more than the page takes if there are more.
    found: Vec<Found>,
    last: Option<Place>,
    visited: i64,
    statements: usize,
    is_through: bool,
}

impl<'a> Walk<'a> {
    fn new(find: &'a Find) -> Result<Self, Error> {
        find.filter.check()?;
        let order = order_of(&find.filter);
        let walked = if order == Order::Ids {
            Order::Newest
        } else {
            order
        }; // they share their cursors
        if find
            .at
            .as_ref()
            .is_some_and(|cursor| cursor.order != walked)
        {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the place is one of another list: begin at the first page",
            ));
        }
        Ok(Self {
            find,
            order,
            newer: find.at.as_ref().is_some_and(|cursor| cursor.newer),
            found: Vec::new(),
            last: None,
            visited: 0,
            statements: 0,
            is_through: false,
        })
    }

    fn window(&self) -> i64 {
        let window = match self.order {
            Order::Running => RUNNING,
            _ if self.find.filter.is_walk_alone(self.order) => i64::from(self.find.size) + 1,
            _ => WINDOW,
        };
        let left = self.find.visits.map(|visits| visits - self.visited);
        left.map_or(window, |left| window.min(left))
    }

    fn next_search(&self) -> Option<Search<'a>> {
        let wanted = usize::from(self.find.size) + 1 - self.found.len();
        if self.is_through || self.statements >= STATEMENTS || wanted == 0 || self.window() <= 0 {
            return None;
        }
        let start = || self.find.at.as_ref().map(|cursor| cursor.place.clone());
        Some(Search {
            filter: &self.find.filter,
            order: self.order,
            newer: self.newer,
            after: self.last.clone().or_else(start),
            until: None,
            window: self.window(),
            limit: i64::try_from(wanted).unwrap_or(i64::MAX),
        })
    }

    /// Searches from the front of the list to where it begins.
    fn search_ahead(&self) -> Search<'a> {
        Search {
            filter: &self.find.filter,
            order: self.order,
            newer: false,
            after: None,
            until: self.find.at.as_ref().map(|cursor| cursor.place.clone()),
            window: self.window(),
            limit: i64::from(self.find.size) + 1,
        }
    }

    fn count_ahead(&self, mut found: Vec<Found>) -> Count {
        let last = found.pop_if(|found| found.is_last);
        let is_through = last.is_none_or(|last| last.visited < self.window());
        let size = usize::from(self.find.size);
        Count {
            at_least: i64::try_from(found.len().min(size)).unwrap_or(i64::MAX),
            exact: is_through && found.len() <= size,
        }
    }

    fn absorb(&mut self, mut found: Vec<Found>) {
        let window = self.window();
        self.statements += 1;
        let Some(last) = found.pop_if(|found| found.is_last) else {
            self.is_through = true;
            return;
        };
        self.visited += last.visited;
        self.is_through = last.visited < window;
        self.last = Some(last.place());
        self.found.append(&mut found);
    }

    /// Names the jobs of the page in the order of the list.
    fn ids(&self) -> Vec<i64> {
        let kept = self.found.iter().take(self.find.size.into());
        let mut ids: Vec<i64> = kept.map(|found| found.id).collect();
        if self.newer {
            ids.reverse();
        }
        ids
    }

    fn page(self, ids: &[i64], mut jobs: Vec<Summary>) -> Page {
        jobs.sort_by_key(|job| ids.iter().position(|id| *id == job.id));
        let size = usize::from(self.find.size);
        let has_more = self.found.len() > size;
        let stopped = self.last.as_ref().filter(|_| !has_more && !self.is_through);
        let furthest = self.found[..self.found.len().min(size)].last();
        let onward = match stopped {
            Some(place) => Some(place.clone()),
            None if has_more => furthest.map(Found::place),
            None => None,
        };
        let start = self.find.at.as_ref().map(|cursor| &cursor.place);
        let first = self.found.first().map(Found::place);
        let backward = start.map(|start| first.unwrap_or_else(|| start.clone()));
        let cursor = |newer, place: Option<Place>| {
            let order = self.order;
            place.map(|place| Cursor {
                newer,
                order,
                place,
            })
        };
        let (older, newer) = if self.newer {
            (backward, onward)
        } else {
            (onward, backward)
        };
        Page {
            jobs,
            older: cursor(false, older),
            newer: cursor(true, newer),
            visited: self.visited,
            stopped: stopped.map(|place| Stopped {
                at: place.at,
                queue: place.queue.clone(),
                priority: place.priority,
            }),
        }
    }
}
