//! The deliberate bugs of records.

/// A way in which a store of records can be wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RecordsBug {
    /// Writes whatever is expected.
    IgnoresExpectations,
    /// Does not look at what is only to be checked.
    IgnoresChecks,
    /// Does the writes before one that is refused.
    CommitsInPart,
    /// Says that a commit was done, and does nothing.
    AcknowledgesWithoutStoring,
    /// Judges a commit that comes again as if it were another.
    JudgesCommitsAgain,
    /// Knows what it did until it crashes.
    ForgetsCommitsInACrash,
    /// Does another commit under an id that is known.
    TakesOneIdForMany,
    /// Remembers a refusal for ever.
    RemembersRefusals,
    /// Begins the versions of a key anew when it is taken again.
    BeginsVersionsAgain,
    /// Answers versions in another order.
    AnswersOutOfOrder,
    /// Says that the first write was refused, whichever was.
    BlamesTheFirst,
    /// Lets several have a key of a unique index.
    SharesUniqueKeys,
    /// Does not find a record by what it was found by before a change.
    LosesEntriesOfChanges,
    /// Finds a record by what it was found by once.
    KeepsOldEntries,
    /// Leaves fields out that are null.
    DropsNulls,
    /// Cuts what is too long.
    CutsWhatIsTooLarge,
    /// Shows what has ended.
    ShowsWhatHasEnded,
    /// Lists what has ended.
    ListsWhatHasEnded,
    /// Takes what has ended for there when something is written.
    CountsWhatHasEnded,
    /// Removes nothing.
    NeverSweeps,
    /// Removes what ends a second later.
    SweepsTooEarly,
    /// Removes all at once.
    SweepsWithoutLimit,
    /// Says after a sweep that nothing is left.
    SweepsNoFurther,
    /// Gives many in the order of their keys.
    SortsMany,
    /// Lists ascending always.
    IgnoresTheOrder,
    /// Lists all of an index.
    IgnoresRanges,
    /// Begins every page at the beginning.
    IgnoresCursors,
    /// Says that the first page is the last.
    EndsListingsEarly,
    /// Leaves the last of a page out.
    SkipsBetweenPages,
    /// Lists as many as there are.
    IgnoresLimits,
    /// Lists by the keys of the records.
    ListsByRecord,
    /// Takes a damaged record for none.
    SwallowsDamage,
    /// Fails many for one that is damaged.
    FailsManyForOne,
    /// Fails a listing for a record that is damaged.
    FailsListingsForOne,
    /// Reports no damage.
    InspectsWithClosedEyes,
}

impl RecordsBug {
    /// Every bug.
    pub const ALL: [Self; 35] = [
        Self::IgnoresExpectations,
        Self::IgnoresChecks,
        Self::CommitsInPart,
        Self::AcknowledgesWithoutStoring,
        Self::JudgesCommitsAgain,
        Self::ForgetsCommitsInACrash,
        Self::TakesOneIdForMany,
        Self::RemembersRefusals,
        Self::BeginsVersionsAgain,
        Self::AnswersOutOfOrder,
        Self::BlamesTheFirst,
        Self::SharesUniqueKeys,
        Self::LosesEntriesOfChanges,
        Self::KeepsOldEntries,
        Self::DropsNulls,
        Self::CutsWhatIsTooLarge,
        Self::ShowsWhatHasEnded,
        Self::ListsWhatHasEnded,
        Self::CountsWhatHasEnded,
        Self::NeverSweeps,
        Self::SweepsTooEarly,
        Self::SweepsWithoutLimit,
        Self::SweepsNoFurther,
        Self::SortsMany,
        Self::IgnoresTheOrder,
        Self::IgnoresRanges,
        Self::IgnoresCursors,
        Self::EndsListingsEarly,
        Self::SkipsBetweenPages,
        Self::IgnoresLimits,
        Self::ListsByRecord,
        Self::SwallowsDamage,
        Self::FailsManyForOne,
        Self::FailsListingsForOne,
        Self::InspectsWithClosedEyes,
    ];
}
