//! A place in a list of jobs, as text that travels through an address.

use std::fmt;
use std::str::FromStr;

use chrono::DateTime;

use super::filter::{Filter, is_storable};
use super::find::Summary;
use super::search::order_of;
use super::walk::{Order, Place};
use crate::error::{Error, ErrorKind};
use crate::state::JobState;

/// Where a page of [`find`](super::find) begins, and in which direction it goes. Its text is not to be taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub(super) newer: bool,
    pub(super) order: Order,
    pub(super) place: Place,
}

impl Cursor {
    /// Gives the same place for a page that goes the other way: towards the front of the list.
    #[must_use]
    pub fn towards_the_front(mut self) -> Self {
        self.newer = true;
        self
    }
}

impl Summary {
    /// Gives the place of the job in the list of a filter, whether it matches or not: a page that begins there goes on
    /// behind it. None if that list is of jobs that have ended, and this one has not.
    #[must_use]
    pub fn place(&self, list: &Filter) -> Option<Cursor> {
        let order = match order_of(list) {
            Order::Ids => Order::Newest, // they share their cursors
            order => order,
        };
        let place = Place {
            queue: self.queue.clone(),
            priority: self.priority,
            at: order.time(self)?,
            id: self.id,
        };
        Some(Cursor {
            newer: false,
            order,
            place,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place {
            queue,
            priority,
            at,
            id,
        } = &self.place;
        let direction = if self.newer { 'n' } else { 'o' };
        let order = letter(self.order);
        let micros = at.timestamp_micros();
        write!(f, "{direction}{order}.{id}.{micros}.{priority}.")?;
        queue.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "the place in the list is not one that a page gave: begin at the first page",
            )
        })
    }
}

fn parse(text: &str) -> Option<Cursor> {
    let mut parts = text.split('.');
    let mut head = parts.next()?.chars();
    let newer = match head.next()? {
        'n' => true,
        'o' => false,
        _ => return None,
    };
    let order = order(head.next()?)?;
    let id = parts.next()?.parse().ok()?;
    let at = DateTime::from_timestamp_micros(parts.next()?.parse().ok()?).filter(is_storable)?;
    let priority = parts.next()?.parse().ok()?;
    let queue = unhex(parts.next()?)?;
    let ended = head.next().is_none() && parts.next().is_none();
    ended.then_some(Cursor {
        newer,
        order,
        place: Place {
            queue,
            priority,
            at,
            id,
        },
    })
}

fn letter(order: Order) -> char {
    match order {
        Order::Ids | Order::Newest => 'i',
        Order::Pending => 'p',
        Order::Running => 'r',
        Order::Ended(JobState::Completed) => 'c',
        Order::Ended(JobState::Cancelled) => 'x',
        Order::Ended(_) => 'd',
    }
}

fn order(letter: char) -> Option<Order> {
    Some(match letter {
        'i' => Order::Newest,
        'p' => Order::Pending,
        'r' => Order::Running,
        'c' => Order::Ended(JobState::Completed),
        'x' => Order::Ended(JobState::Cancelled),
        'd' => Order::Ended(JobState::Dead),
        _ => return None,
    })
}

fn unhex(text: &str) -> Option<String> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    let queue = String::from_utf8(bytes?).ok()?;
    (!queue.contains('\0')).then_some(queue)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back_from_its_text(
            newer: bool,
            chosen in prop::sample::select(vec!['i', 'p', 'r', 'c', 'x', 'd']),
            queue in "[^\0]{0,40}",
            priority: i16,
            seconds in -62_000_000_000_i64..253_000_000_000,
            micros in 0..1_000_000_u32,
            id: i64,
        ) {
            let at = DateTime::from_timestamp(seconds, micros * 1000).unwrap();
            let place = Place { queue, priority, at, id };
            let cursor = Cursor { newer, order: order(chosen).unwrap(), place };

            prop_assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), tail in "[no][iprcxd][.0-9a-f-]{0,40}") {
            let _ = text.parse::<Cursor>();
            let _ = tail.parse::<Cursor>();
        }
    }
}
