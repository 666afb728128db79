//! The rules that make the protocol right, and its settings. A test breaks each rule in turn.

/// What an end must show to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    Token,
    Attempt,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// What `finish.sql` compares.
    pub(crate) fence: Fence,
    /// What `complete_in.sql` compares.
    pub(crate) fence_of_effects: Fence,
    /// The rescue takes from the owners that an earlier statement found missing. Otherwise it asks for missing ones itself,
    /// in the snapshot in which it found its jobs.
    pub(crate) pins_owners: bool,
    /// The rescue takes from workers whose lease has run out. Otherwise from everybody else.
    pub(crate) waits_for_leases: bool,
    /// A process releases what it does not know of.
    pub(crate) reconciles: bool,
    /// Reconcile leaves alone what a claim has taken whose answer is on its way.
    pub(crate) spares_open_claims: bool,
    /// A claim whose answer is lost has ended: reconcile asks for what it took.
    pub(crate) ends_lost_claims: bool,
    /// A release gives the attempt back.
    pub(crate) refunds: bool,
    /// A claim locks its rows, and so looks again at what they are by then.
    pub(crate) locks_rows: bool,
    /// A registration has a new id, also that of a process that is known.
    pub(crate) renews_ids: bool,
    /// A requeue looks whether the unique key is taken.
    pub(crate) guards_keys: bool,
    /// An end is accepted only while somebody has the job.
    pub(crate) ends_once: bool,
    /// A handler whose `complete_in` finds its lease lost commits nothing.
    pub(crate) effects_need_rows: bool,
    /// A requeue goes on with the token.
    pub(crate) keeps_tokens: bool,
    /// The rescue compares the losses of before.
    pub(crate) forgives_a_loss: bool,
    /// Solitary losses allowed.
    pub(crate) max_lost: u8,
    /// Jobs that a process runs at once.
    pub(crate) slots: usize,
}

/// The rules as they are.
pub(crate) const RULES: Rules = Rules {
    fence: Fence::Token,
    fence_of_effects: Fence::Token,
    pins_owners: true,
    waits_for_leases: true,
    reconciles: true,
    spares_open_claims: true,
    ends_lost_claims: true,
    refunds: true,
    locks_rows: true,
    renews_ids: true,
    guards_keys: true,
    ends_once: true,
    effects_need_rows: true,
    keeps_tokens: true,
    forgives_a_loss: true,
    max_lost: 1,
    slots: 2,
};
