//! The deliberate bugs.

/// A way in which a store can be wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bug {
    /// Acknowledges chunks and stores none.
    AcknowledgesWithoutStoring,
    /// Keeps the last chunk of each brane in memory until the next one comes.
    LosesTheLastChunkInACrash,
    /// Drops the last chunk of a group of several, and acknowledges it.
    DropsTheEndOfAGroup,
    /// Stores chunks of earlier epochs under the current one.
    AcceptsOldEpochs,
    /// Stores a chunk that begins after the head as if it began there.
    AcceptsGaps,
    /// Stores a chunk that is there already once more, behind the head.
    AppliesRetriesTwice,
    /// Refuses a chunk that is there already.
    RefusesRetries,
    /// Swaps the bodies of two chunks of one brane in one group.
    Reorders,
    /// Answers the chunks of a group in another order.
    AnswersOutOfOrder,
    /// Fails a whole group because one chunk of it is stale.
    FailsAGroupForAStaleChunk,
    /// Fails a whole group because one brane of it is damaged.
    FailsAGroupForADamagedBrane,
    /// Shows a snapshot that was begun.
    ShowsUnfinishedSnapshots,
    /// Says that a snapshot with missing parts is finished.
    FinishesIncompleteSnapshots,
    /// Says that a snapshot of an earlier writer is finished.
    FinishesStaleSnapshots,
    /// Shows the first snapshot for ever.
    OpensFromAnOldSnapshot,
    /// Does not show older snapshots.
    ShowsTheNewestSnapshotOnly,
    /// Reads nothing where a chunk is damaged.
    SwallowsDamagedChunks,
    /// Hands out zeros where a part is damaged.
    SwallowsDamagedParts,
    /// Reports no damage.
    InspectsWithClosedEyes,
    /// Cuts one good chunk with a torn tail.
    CutsTooMuch,
    /// Does not say that it cut a tail.
    CutsSilently,
    /// Does not remember that it cut a tail.
    ForgetsCuts,
    /// Takes damage in the middle for a torn tail.
    TakesDamageForATornTail,
    /// Gives every opening the same epoch.
    NeverRaisesTheEpoch,
    /// Knows the last opening only.
    ForgetsTheLineage,
    /// Deletes covered chunks however young they are.
    CompactsTooMuch,
    /// Deletes the chunks that only the newest snapshot covers.
    LeavesNothingToFallBackOn,
    /// Deletes nothing.
    NeverCompacts,
    /// Keeps one snapshot less than it should.
    DropsASnapshotTooMany,
    /// Reads everything, whatever the budget is.
    IgnoresBudgets,
    /// Keeps the server's values in memory.
    ForgetsValues,
    /// Sets a value of the server's, whatever was there.
    ReplacesWhateverIsThere,
    /// Looks what a value is, and sets it later.
    ReplacesInTwoSteps,
    /// Refuses to set a value that is there already.
    RefusesWhatIsReplaced,
    /// Lists every brane to everyone.
    ListsEverything,
    /// Finds no archived or deleted branes by their ids.
    FindsTheActiveAlone,
    /// Fails to find branes by their ids if one of them is not there.
    FindsNothingBesideTheUnknown,
    /// Says that the first page of a listing is the last.
    EndsListingsEarly,
    /// Replaces a brane's record by a second one.
    AcceptsSecondRecords,
    /// Changes a record, whatever its version is.
    ChangesEveryVersion,
    /// Refuses a change that was made already.
    RefusesRepeatedChanges,
    /// Says that a record was changed.
    ChangesNothing,
    /// Gives a brane to another owner.
    ChangesOwners,
    /// Forgets that an operator archived a brane.
    ForgetsOperators,
    /// Opens what is archived or deleted.
    OpensTheInactive,
    /// Does not hand out what is archived for a copy.
    CopiesTheActiveAlone,
    /// Shows everyone what is archived or deleted.
    ListsTheInactive,
    /// Does not show owners what they deleted.
    HidesTheDeleted,
    /// Shows owners copies that are being written as deleted branes.
    ListsTheUnfinished,
    /// Shows owners what is purged.
    ListsThePurged,
    /// Says that nothing is due.
    NothingIsDue,
    /// Says that what was deleted is due at once.
    DueAtOnce,
    /// Purges before the time has come.
    PurgesEarly,
    /// Purges what was never deleted.
    PurgesTheActive,
    /// Says that a brane was purged.
    PurgesNothing,
    /// Says that a purge has begun.
    BeginsNoPurge,
    /// Sets the tombstone when a purge is to begin.
    PurgesAsItBegins,
    /// Gives the id of a purged brane out again.
    ForgetsThePurged,
    /// Refuses to purge what is purged.
    RefusesToPurgeAgain,
    /// Changes what another node holds.
    ChangesWhatOthersHold,
    /// Leaves what it changes with the node that held it, and was away.
    ChangesBehindTheLapsed,
    /// Purges what a node holds.
    PurgesTheHeld,
    /// Opens what another node holds.
    TakesFromTheLiving,
    /// Opens nothing that another node held, whether it lives or not.
    NeverTakes,
    /// Says that the node that asks is the holder.
    NamesAnotherHolder,
    /// Says nothing of a lease that was over.
    HidesLapses,
    /// Says of every renewal that the lease was over.
    AlwaysLapsed,
    /// Says nothing of branes that were taken.
    HidesLosses,
    /// Says what was taken once.
    TellsLossesOnce,
    /// Takes everything for lost when the lease was over.
    GivesUpWhenLapsed,
    /// Asks who holds a brane, and not under which epoch.
    TakesLossesByHolder,
    /// Says nothing of offers.
    HidesOffers,
    /// Says nothing of an offer that was accepted.
    HidesAcceptedOffers,
    /// Takes every target for ready.
    ReadyAtOnce,
    /// Never hears that a target is ready.
    NeverReady,
    /// Takes a new target for ready because an earlier one was.
    KeepsReadiness,
    /// Forgets that the target is ready when the same offer comes again.
    ForgetsReadiness,
    /// Does not take an offer back.
    KeepsOffers,
    /// Says that a brane was handed over.
    HandsNothingOver,
    /// Refuses a hand-over that was done already.
    RefusesHandOversAgain,
    /// Lets go of a brane, rather than make the target its holder.
    HandsOverToAnybody,
    /// Says that a brane was released.
    ReleasesNothing,
    /// Lets go of a brane under any epoch.
    ReleasesWhatIsNotHeld,
    /// Says that the node has left.
    NeverLeaves,
    /// Does not end the lease of a node that is dead.
    SucceedsNobody,
    /// Ends all leases for that of a node that is dead.
    SucceedsAll,
    /// Does not say that a node gives its branes away.
    HidesDraining,
    /// Lists nodes whose leases are over as if they lasted.
    ListsTheDeadAsLiving,
    /// Compacts what is another node's to see to.
    CompactsForOthers,
}

impl Bug {
    /// Every bug of a fleet, and those of a store that matter most there.
    pub const FLEET: [Self; 33] = [
        Self::AcceptsOldEpochs,
        Self::FailsAGroupForAStaleChunk,
        Self::ChangesWhatOthersHold,
        Self::ChangesBehindTheLapsed,
        Self::PurgesTheHeld,
        Self::TakesFromTheLiving,
        Self::NeverTakes,
        Self::NamesAnotherHolder,
        Self::HidesLapses,
        Self::AlwaysLapsed,
        Self::HidesLosses,
        Self::TellsLossesOnce,
        Self::GivesUpWhenLapsed,
        Self::TakesLossesByHolder,
        Self::HidesOffers,
        Self::HidesAcceptedOffers,
        Self::ReadyAtOnce,
        Self::NeverReady,
        Self::KeepsReadiness,
        Self::ForgetsReadiness,
        Self::KeepsOffers,
        Self::HandsNothingOver,
        Self::RefusesHandOversAgain,
        Self::HandsOverToAnybody,
        Self::ReleasesNothing,
        Self::ReleasesWhatIsNotHeld,
        Self::NeverLeaves,
        Self::SucceedsNobody,
        Self::SucceedsAll,
        Self::HidesDraining,
        Self::ListsTheDeadAsLiving,
        Self::CompactsForOthers,
        Self::NeverCompacts,
    ];

    /// Every bug of a store.
    pub const ALL: [Self; 59] = [
        Self::AcknowledgesWithoutStoring,
        Self::LosesTheLastChunkInACrash,
        Self::DropsTheEndOfAGroup,
        Self::AcceptsOldEpochs,
        Self::AcceptsGaps,
        Self::AppliesRetriesTwice,
        Self::RefusesRetries,
        Self::Reorders,
        Self::AnswersOutOfOrder,
        Self::FailsAGroupForAStaleChunk,
        Self::FailsAGroupForADamagedBrane,
        Self::ShowsUnfinishedSnapshots,
        Self::FinishesIncompleteSnapshots,
        Self::FinishesStaleSnapshots,
        Self::OpensFromAnOldSnapshot,
        Self::ShowsTheNewestSnapshotOnly,
        Self::SwallowsDamagedChunks,
        Self::SwallowsDamagedParts,
        Self::InspectsWithClosedEyes,
        Self::CutsTooMuch,
        Self::CutsSilently,
        Self::ForgetsCuts,
        Self::TakesDamageForATornTail,
        Self::NeverRaisesTheEpoch,
        Self::ForgetsTheLineage,
        Self::CompactsTooMuch,
        Self::LeavesNothingToFallBackOn,
        Self::NeverCompacts,
        Self::DropsASnapshotTooMany,
        Self::IgnoresBudgets,
        Self::ForgetsValues,
        Self::ReplacesWhateverIsThere,
        Self::ReplacesInTwoSteps,
        Self::RefusesWhatIsReplaced,
        Self::ListsEverything,
        Self::FindsTheActiveAlone,
        Self::FindsNothingBesideTheUnknown,
        Self::EndsListingsEarly,
        Self::AcceptsSecondRecords,
        Self::ChangesEveryVersion,
        Self::RefusesRepeatedChanges,
        Self::ChangesNothing,
        Self::ChangesOwners,
        Self::ForgetsOperators,
        Self::OpensTheInactive,
        Self::CopiesTheActiveAlone,
        Self::ListsTheInactive,
        Self::HidesTheDeleted,
        Self::ListsTheUnfinished,
        Self::ListsThePurged,
        Self::NothingIsDue,
        Self::DueAtOnce,
        Self::PurgesEarly,
        Self::PurgesTheActive,
        Self::PurgesNothing,
        Self::BeginsNoPurge,
        Self::PurgesAsItBegins,
        Self::ForgetsThePurged,
        Self::RefusesToPurgeAgain,
    ];
}
