//! Limits hold whatever happens in which order, and nobody is kept from a slot by others.

use chrono::Utc;
use diesel::pg::data_types::PgTimestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::Document;
use crate::worker::execute::Claimed;
use crate::worker::flights::Stop;

const LIMITS: [usize; 2] = [3, 2];
const TOTAL: usize = 4;

fn job(id: i64, priority: i16) -> Waiting {
    let now = PgTimestamp(0);
    let claimed = Claimed {
        id,
        fencing_token: 1,
        queue: "queue".to_owned(),
        kind: "job".to_owned(),
        payload: Document::of(json!({})),
        metadata: None,
        priority,
        run_at: now,
        attempt: 1,
        max_retries: 3,
        created_at: Utc::now(),
        deadline_at: None,
        now,
        visited: 1,
    };
    Waiting {
        claimed,
        stop: Stop::default(),
        since: Instant::now(),
    }
}

fn slots() -> Arc<Slots> {
    Slots::new(TOTAL, LIMITS.to_vec())
}

fn one_lane(slots: usize) -> Arc<Slots> {
    Slots::new(slots, vec![slots])
}

fn most(room: &Room) -> Vec<usize> {
    room.lanes.iter().map(|lane| lane.most).collect()
}

#[test]
fn jobs_start_by_priority_and_in_the_order_of_claims() {
    let slots = one_lane(10);
    let jobs = [(1, 5), (2, 5), (3, 0), (4, 9), (5, 5)];
    slots.wait(
        jobs.iter()
            .map(|&(id, priority)| (0, job(id, priority)))
            .collect(),
    );

    let mut started = Vec::new();
    let mut taken = Vec::new();
    while let Some((job, slot)) = slots.next() {
        started.push(job.claimed.id);
        taken.push(slot);
    }

    assert_eq!(started, [3, 1, 2, 5, 4]);
}

#[test]
fn a_look_that_is_owed_gets_the_next_free_slot_before_the_jobs_that_wait() {
    let slots = one_lane(1);
    slots.wait(vec![(0, job(1, 5)), (0, job(2, 5))]);
    let (_, running) = slots.next().unwrap();

    slots.owe_to_suspects();
    assert!(slots.reserve().is_none(), "no slot is free");
    drop(running);

    assert!(slots.next().is_none(), "the slot is left");
    let reserved = slots.reserve().unwrap();
    assert!(slots.next().is_none());
    assert_eq!(reserved.lanes(), [0]);
    drop(reserved);
    assert_eq!(slots.next().unwrap().0.claimed.id, 2);
}

#[test]
fn a_look_takes_a_slot_of_each_lane_and_one_in_all() {
    let slots = slots();
    slots.owe_to_suspects();

    let reserved = slots.reserve().unwrap();

    assert_eq!(reserved.lanes(), [0, 1]);
    assert_eq!(slots.free(), TOTAL - 1);
    assert_eq!(most(&slots.room(&[0, 0])), [LIMITS[0] - 1, LIMITS[1] - 1]);
    let slot = reserved.keep(1);
    assert_eq!(most(&slots.room(&[0, 0])), [LIMITS[0], LIMITS[1] - 1]);
    slots.owe_to_suspects();
    assert!(slots.reserve().is_none(), "one runs");
    drop(slot);
    assert_eq!(slots.free(), TOTAL);
}

#[test]
fn a_lane_that_had_no_free_slot_has_its_look_when_it_has_one() {
    let slots = slots();
    slots.wait((0..2).map(|id| (1, job(id, 5))).collect());
    let (_, first) = slots.next().unwrap();
    let (_, _second) = slots.next().unwrap();

    slots.owe_to_suspects();
    assert_eq!(slots.reserve().unwrap().lanes(), [0]);
    assert!(slots.owes_to_suspects());
    drop(first);

    assert_eq!(slots.reserve().unwrap().lanes(), [1]);
    assert!(!slots.owes_to_suspects());
}

#[test]
fn ends_of_one_lane_that_are_not_stored_take_no_room_of_another() {
    let slots = slots();
    let _stuck: Vec<Unstored> = (0..100)
        .map(|id| {
            slots.wait(vec![(0, job(id, 5))]);
            let (_, slot) = slots.next().unwrap();
            slot.end(Duration::ZERO)
        })
        .collect();

    let room = slots.room(&[10, 10]);

    assert_eq!(most(&room), [0, LIMITS[1] + 10]);
    assert_eq!(room.total, TOTAL + 10);
}

#[test]
fn jobs_that_wait_for_their_own_lanes_slots_take_no_room_of_another() {
    let slots = Slots::new(10, vec![2, 10]);
    slots.wait((0..50).map(|id| (0, job(id, 5))).collect());
    let _running: Vec<_> = std::iter::from_fn(|| slots.next()).collect();

    let room = slots.room(&[60, 0]);

    assert_eq!((room.lanes[1].most, room.lanes[1].free), (8, 8));
    assert_eq!(room.free, 8, "{room:?}");
}

#[test]
fn a_lane_that_others_keep_out_of_every_slot_is_left_the_next_one() {
    let slots = one_lane_beside_a_deep_one();
    let (_, running) = slots.next().unwrap();
    assert!(!slots.keep_for(&[1]));

    drop(running);

    assert!(slots.next().is_none(), "the slot is left");
    let room = slots.room(&[10, 0]);
    assert_eq!(
        (room.kept_for, room.free, room.lanes[1].most),
        (Some(1), 1, 1)
    );
    slots.wait(vec![(1, job(100, 5))]);
    let (job, _slot) = slots.next().unwrap();
    assert_eq!(job.claimed.id, 100, "it does not wait behind the others");
}

#[test]
fn a_slot_that_was_left_to_a_lane_in_vain_goes_to_the_jobs_that_wait() {
    let slots = one_lane_beside_a_deep_one();
    let (_, running) = slots.next().unwrap();
    slots.keep_for(&[1]);
    drop(running);
    assert!(slots.next().is_none());

    assert!(slots.keep_for(&[]), "it was left, and is not any more");

    assert_eq!(slots.next().unwrap().0.claimed.id, 1);
}

/// One slot in all, for which jobs of lane 0 wait.
fn one_lane_beside_a_deep_one() -> Arc<Slots> {
    let slots = Slots::new(1, vec![1, 1]);
    slots.wait((0..5).map(|id| (0, job(id, 5))).collect());
    slots
}

#[test]
fn without_a_free_slot_and_nothing_ahead_there_is_no_room() {
    let slots = one_lane(1);
    slots.wait(vec![(0, job(1, 5))]);
    let _running = slots.next().unwrap();

    let room = slots.room(&[0]);

    assert_eq!((room.total, most(&room)), (0, vec![0]));
}

#[test]
fn what_waits_counts_against_what_can_start_at_once() {
    let slots = one_lane(3);
    slots.wait(vec![(0, job(1, 5)), (0, job(2, 5))]);

    let room = slots.room(&[20]);

    assert_eq!((room.lanes[0].most, room.lanes[0].free), (21, 1));
}

#[test]
fn only_what_has_waited_since_before_is_taken_back() {
    let slots = one_lane(1);
    slots.wait(vec![(0, job(1, 5)), (0, job(2, 0))]);
    let between = Instant::now();
    std::thread::sleep(Duration::from_millis(1)); // the clock has to move on
    slots.wait(vec![(0, job(3, 5))]);

    let taken = slots.waiting_since(between);

    let mut ids: Vec<i64> = taken.iter().map(|(job, _)| job.claimed.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    assert_eq!(slots.next().unwrap().0.claimed.id, 3);
}

#[derive(Debug, Clone)]
enum Step {
    Wait(usize),
    Start,
    End(usize),
    Store(usize),
    Owe,
    Reserve,
    Keep(usize),
    KeepFor(Vec<usize>),
    Return,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2_usize).prop_map(Step::Wait),
        Just(Step::Start),
        any::<usize>().prop_map(Step::End),
        any::<usize>().prop_map(Step::Store),
        Just(Step::Owe),
        Just(Step::Reserve),
        any::<usize>().prop_map(Step::Keep),
        prop_oneof![Just(vec![]), Just(vec![0]), Just(vec![1, 0])].prop_map(Step::KeepFor),
        Just(Step::Return),
    ]
}

proptest! {
    #[test]
    fn no_order_of_events_takes_more_slots_than_there_are_or_loses_one(steps in proptest::collection::vec(step(), 0..200)) {
        let slots = slots();
        let (mut running, mut unstored, mut reserved) = (Vec::new(), Vec::new(), None);
        for (id, step) in (0..).zip(steps) {
            match step {
                Step::Wait(lane) => slots.wait(vec![(lane, job(id, 5))]),
                Step::Start => running.extend(slots.next().map(|(_, slot)| slot)),
                Step::End(number) if !running.is_empty() => {
                    let slot: Slot = running.swap_remove(number % running.len());
                    unstored.push(slot.end(Duration::ZERO));
                }
                Step::Store(number) if !unstored.is_empty() => {
                    drop(unstored.swap_remove(number % unstored.len()));
                }
                Step::Owe => slots.owe_to_suspects(),
                Step::Reserve if reserved.is_none() => reserved = slots.reserve(),
                Step::Keep(number) => running.extend(reserved.take().map(|reserved: Reserved| {
                    let lane = reserved.lanes()[number % reserved.lanes().len()];
                    reserved.keep(lane)
                })),
                Step::KeepFor(lanes) => {
                    let _started_anew = slots.keep_for(&lanes);
                }
                Step::Return => drop(reserved.take()),
                _ => {}
            }
            let room = slots.room(&[0, 0]);
            prop_assert!(room.total <= slots.free());
            let held: Vec<&Slot> = running.iter().chain(unstored.iter().filter_map(|end: &Unstored| end._suspect.as_ref())).collect();
            prop_assert!(held.len() + usize::from(reserved.is_some()) <= TOTAL);
            prop_assert!(held.iter().filter(|slot| slot.suspect).count() + usize::from(reserved.is_some()) <= 1);
            for (lane, limit) in LIMITS.iter().enumerate() {
                prop_assert!(held.iter().filter(|slot| slot.lane == lane).count() <= *limit);
            }
        }
        drop((running, unstored, reserved));
        prop_assert_eq!(slots.free(), TOTAL);
        let state = slots.lock();
        prop_assert_eq!(state.lanes.iter().map(|lane| lane.free).collect::<Vec<_>>(), LIMITS.to_vec());
        prop_assert!(!state.suspect);
    }
}
