//! What the two ends of a link may rely on, settled once when it is opened.

use super::{Dialect, Feature};
use alloc::vec::Vec;

/// The outcome of the hellos of both ends: the dialect, and the features in force.
///
/// Each question that a session has to its peer is a method here, so that what it depends on stands
/// once for both ends. The value belongs to one session; the next hello settles the next one.
///
/// ```
/// use onsembl_protocol::model::{AGENT_FEATURES, Capabilities, Dialect, Feature};
///
/// let theirs = [Feature::OutputBytes, Feature::OutputBinary];
/// let agreed = Capabilities::negotiate(AGENT_FEATURES, &theirs, Dialect::Extended);
/// assert!(agreed.output_is_stored() && agreed.output_is_binary());
/// assert!(!agreed.output_resumes());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capabilities {
    dialect: Dialect,
    in_force: FeatureSet,
}

/// The form in which an end wants output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OutputFormat {
    /// Whole lines of text; a gap is a line too.
    Lines,
    /// Bytes with their offsets; a gap shows by the next offset.
    Bytes,
    /// Bytes with their offsets, and gaps as records of their own.
    Records,
}

impl Capabilities {
    /// What a legacy peer can do: nothing beyond its protocol.
    pub const LEGACY: Self = Self { dialect: Dialect::Legacy, in_force: FeatureSet(0) };

    /// Settles what is in force between an end that offers `ours` and a peer that offers `theirs`.
    /// A peer of the legacy dialect has no features, whatever is passed for it; a feature that this
    /// version does not know is never in force.
    pub fn negotiate(ours: &[Feature], theirs: &[Feature], dialect: Dialect) -> Self {
        match dialect {
            Dialect::Legacy => Self::LEGACY,
            Dialect::Extended => {
                let in_force = FeatureSet::of(ours).intersection(FeatureSet::of(theirs));
                Self { dialect, in_force }
            }
        }
    }

    /// What the peer speaks.
    pub const fn dialect(self) -> Dialect {
        self.dialect
    }

    /// Whether the peer speaks the extensions.
    pub const fn is_extended(self) -> bool {
        match self.dialect {
            Dialect::Legacy => false,
            Dialect::Extended => true,
        }
    }

    /// The features in force, in the order in which they travel.
    pub fn features(self) -> Vec<Feature> {
        ORDER.iter().filter(|feature| self.has(feature)).cloned().collect()
    }

    /// Output has offsets and is acknowledged once it is stored. Else it counts as delivered when it
    /// is sent.
    pub fn output_is_stored(self) -> bool {
        self.has(&Feature::OutputBytes)
    }

    /// An agent may send chunks of output in binary messages, or a dashboard is sent them so.
    pub fn output_is_binary(self) -> bool {
        self.output_is_stored() && self.has(&Feature::OutputBinary)
    }

    /// Gaps are declared, and the server says after the welcome how far each stream is stored.
    pub fn output_resumes(self) -> bool {
        self.output_is_stored() && self.has(&Feature::OutputSpool)
    }

    /// A stop is in force until it is released: the agent keeps it and gives receipts, and the server
    /// says in the welcome and to dashboards which one it is.
    pub(crate) fn latches_stops(self) -> bool {
        self.has(&Feature::StopLatch)
    }

    /// `LOST` is an end of a command, and the hello says of which journal an agent knows what it
    /// knows.
    pub(crate) fn keeps_journals(self) -> bool {
        self.has(&Feature::CommandJournal)
    }

    /// The server says when an end of unknown position is stored. Else everything before it must do.
    pub(crate) fn open_ends_are_stored(self) -> bool {
        self.has(&Feature::OpenEnds)
    }

    /// The agent may open terminals by itself, and takes keys and sizes for them.
    pub(crate) fn knows_terminals(self) -> bool {
        self.has(&Feature::Terminal)
    }

    /// Reports of commands are acknowledged. Otherwise one counts as confirmed when it is sent.
    pub(crate) fn reports_are_confirmed(self) -> bool {
        self.has(&Feature::CommandReports)
    }

    /// The server knows the close codes by which an agent obeys an order to end. To one that does not,
    /// it closes as if it was stopped on its machine.
    pub(crate) fn end_orders(self) -> bool {
        self.has(&Feature::EndOrders)
    }

    /// The server takes up commands that it does not know. Else what it says of an unknown command may mean
    /// that its database was lost.
    pub(crate) fn adopts_commands(self) -> bool {
        self.has(&Feature::CommandAdoption)
    }

    /// The server keeps what an agent found while it was away, and confirms it.
    pub(crate) fn keeps_black_boxes(self) -> bool {
        self.has(&Feature::BlackBox)
    }

    /// It is said what a command waits for on its agent, and an agent knows what a text is to do about a line that was
    /// begun at its own terminal.
    pub(crate) fn says_what_typing_waits_for(self) -> bool {
        self.has(&Feature::TypingWaits)
    }

    /// It is said whether a line that a text waits for is that of a remote user.
    pub(crate) fn says_whose_line(self) -> bool {
        self.has(&Feature::LineOrigin)
    }

    /// A text may be a secret, which is kept nowhere.
    pub(crate) fn takes_secrets(self) -> bool {
        self.has(&Feature::SecretInput)
    }

    /// A text of a command may be longer than its request, and goes before it in pieces.
    pub(crate) fn takes_long_texts(self) -> bool {
        self.has(&Feature::LongText)
    }

    /// The output of a command may be relayed without being stored; what is missing of it is declared as a gap.
    pub(crate) fn leaves_output_unstored(self) -> bool {
        self.output_resumes() && self.has(&Feature::UnstoredOutput)
    }

    /// Somebody may type into a terminal remotely, under a hold of its keyboard.
    pub(crate) fn types(self) -> bool {
        self.has(&Feature::Typing)
    }

    /// Sizes of terminals are told with their positions in the output.
    pub(crate) fn records_sizes(self) -> bool {
        self.has(&Feature::TerminalSize)
    }

    /// A viewer of a terminal says what it has shown, and may be shown the present instead of what it missed.
    pub(crate) fn views_live(self) -> bool {
        self.has(&Feature::LiveView)
    }

    /// It is sent the activity of agents' programs, and an agent types a text on condition that its program waits
    /// for one.
    pub(crate) fn tells_activity(self) -> bool {
        self.has(&Feature::Activity)
    }

    /// A dashboard is told why an agent is where it is.
    pub(crate) fn explains_presence(self) -> bool {
        self.has(&Feature::PresenceWhy)
    }

    /// The agent exports its part of the trace of a command. To one that does not, nothing is said of traces.
    pub fn traces_commands(self) -> bool {
        self.has(&Feature::CommandTrace)
    }

    /// The form in which a dashboard takes output.
    pub(crate) fn output_format(self) -> OutputFormat {
        match (self.output_is_stored(), self.output_resumes()) {
            (_, true) => OutputFormat::Records,
            (true, false) => OutputFormat::Bytes,
            (false, false) => OutputFormat::Lines,
        }
    }

    fn has(self, feature: &Feature) -> bool {
        self.in_force.contains(feature)
    }
}

/// Every feature, in the order in which they travel.
const ORDER: &[Feature] = &[
    Feature::Heartbeats,
    Feature::OutputBytes,
    Feature::OutputBinary,
    Feature::OutputSpool,
    Feature::OutputReplay,
    Feature::CommandReports,
    Feature::CommandJournal,
    Feature::StopLatch,
    Feature::Terminal,
    Feature::OpenEnds,
    Feature::EndOrders,
    Feature::CommandAdoption,
    Feature::BlackBox,
    Feature::PresenceWhy,
    Feature::CommandTrace,
    Feature::TypingWaits,
    Feature::SecretInput,
    Feature::Typing,
    Feature::TerminalSize,
    Feature::LiveView,
    Feature::Activity,
    Feature::LineOrigin,
    Feature::LongText,
    Feature::UnstoredOutput,
    Feature::Ephemeral,
];

/// Features as bits, so that a session can copy what is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FeatureSet(u32);

impl FeatureSet {
    fn of(features: &[Feature]) -> Self {
        Self(features.iter().fold(0, |bits, feature| bits | bit(feature)))
    }

    const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn contains(self, feature: &Feature) -> bool {
        self.0 & bit(feature) != 0
    }
}

const fn bit(feature: &Feature) -> u32 {
    match feature {
        Feature::Heartbeats => 1,
        Feature::OutputBytes => 1 << 1,
        Feature::OutputBinary => 1 << 2,
        Feature::OutputSpool => 1 << 3,
        Feature::OutputReplay => 1 << 4,
        Feature::CommandReports => 1 << 5,
        Feature::CommandJournal => 1 << 6,
        Feature::StopLatch => 1 << 7,
        Feature::OpenEnds => 1 << 8,
        Feature::EndOrders => 1 << 9,
        Feature::Terminal => 1 << 10,
        Feature::CommandAdoption => 1 << 11,
        Feature::BlackBox => 1 << 12,
        Feature::PresenceWhy => 1 << 13,
        Feature::CommandTrace => 1 << 14,
        Feature::TypingWaits => 1 << 15,
        Feature::SecretInput => 1 << 16,
        Feature::Typing => 1 << 18,
        Feature::TerminalSize => 1 << 17,
        Feature::Activity => 1 << 19,
        Feature::Ephemeral => 1 << 20,
        Feature::LiveView => 1 << 21,
        Feature::LineOrigin => 1 << 22,
        Feature::LongText => 1 << 23,
        Feature::UnstoredOutput => 1 << 24,
        Feature::Unknown(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AGENT_FEATURES, DASHBOARD_FEATURES, SERVER_FEATURES};
    use super::*;

    fn with(theirs: &[Feature]) -> Capabilities {
        Capabilities::negotiate(AGENT_FEATURES, theirs, Dialect::Extended)
    }

    #[test]
    fn every_feature_has_a_bit_and_a_position_in_the_order() {
        let bits: u32 = ORDER.iter().map(bit).sum();
        assert_eq!(bits, (1 << ORDER.len()) - 1);
    }

    #[test]
    fn between_our_own_ends_everything_is_in_force_in_the_order_of_the_list() {
        assert_eq!(with(SERVER_FEATURES).features(), SERVER_FEATURES);
        let dashboard =
            Capabilities::negotiate(DASHBOARD_FEATURES, DASHBOARD_FEATURES, Dialect::Extended);
        assert_eq!(dashboard.features(), DASHBOARD_FEATURES);
    }

    #[test]
    fn a_legacy_peer_has_no_features_whatever_is_said_for_it() {
        let legacy = Capabilities::negotiate(AGENT_FEATURES, SERVER_FEATURES, Dialect::Legacy);
        assert_eq!(legacy, Capabilities::LEGACY);
        assert!(!legacy.is_extended() && !legacy.output_is_stored() && !legacy.end_orders());
    }

    #[test]
    fn what_only_one_end_said_is_not_in_force() {
        let all = ORDER;
        for feature in ORDER {
            let without: Vec<Feature> = all.iter().filter(|f| *f != feature).cloned().collect();
            for agreed in [
                Capabilities::negotiate(all, &without, Dialect::Extended),
                Capabilities::negotiate(&without, all, Dialect::Extended),
            ] {
                assert_eq!(agreed.features(), without);
            }
        }
    }

    #[test]
    fn each_question_hangs_on_its_feature_and_on_no_other() {
        type Question = (&'static str, fn(Capabilities) -> bool, &'static [Feature]);
        let questions: [Question; 19] = [
            ("stored", Capabilities::output_is_stored, &[Feature::OutputBytes]),
            (
                "binary",
                Capabilities::output_is_binary,
                &[Feature::OutputBytes, Feature::OutputBinary],
            ),
            (
                "resumes",
                Capabilities::output_resumes,
                &[Feature::OutputBytes, Feature::OutputSpool],
            ),
            ("stops", Capabilities::latches_stops, &[Feature::StopLatch]),
            ("journals", Capabilities::keeps_journals, &[Feature::CommandJournal]),
            ("open ends", Capabilities::open_ends_are_stored, &[Feature::OpenEnds]),
            ("terminals", Capabilities::knows_terminals, &[Feature::Terminal]),
            ("reports", Capabilities::reports_are_confirmed, &[Feature::CommandReports]),
            (
                "unstored",
                Capabilities::leaves_output_unstored,
                &[Feature::OutputBytes, Feature::OutputSpool, Feature::UnstoredOutput],
            ),
            ("end orders", Capabilities::end_orders, &[Feature::EndOrders]),
            ("traces", Capabilities::traces_commands, &[Feature::CommandTrace]),
            ("waits", Capabilities::says_what_typing_waits_for, &[Feature::TypingWaits]),
            ("origin", Capabilities::says_whose_line, &[Feature::LineOrigin]),
            ("secrets", Capabilities::takes_secrets, &[Feature::SecretInput]),
            ("long texts", Capabilities::takes_long_texts, &[Feature::LongText]),
            ("typing", Capabilities::types, &[Feature::Typing]),
            ("sizes", Capabilities::records_sizes, &[Feature::TerminalSize]),
            ("live", Capabilities::views_live, &[Feature::LiveView]),
            ("activity", Capabilities::tells_activity, &[Feature::Activity]),
        ];
        for (name, question, needed) in questions {
            let agreed = |theirs: &[Feature]| {
                question(Capabilities::negotiate(ORDER, theirs, Dialect::Extended))
            };
            assert!(agreed(needed), "{name}");
            for feature in needed {
                let without: Vec<Feature> =
                    ORDER.iter().filter(|f| *f != feature).cloned().collect();
                assert!(!agreed(&without), "{name} without {feature}");
            }
        }
    }

    #[test]
    fn a_feature_that_nobody_knows_is_never_in_force() {
        let unknown = [Feature::Unknown("time-travel".into())];
        let agreed = Capabilities::negotiate(&unknown, &unknown, Dialect::Extended);
        assert_eq!(agreed.features(), []);
    }

    #[test]
    fn a_dashboard_gets_output_in_the_form_that_it_can_take() {
        let format = |theirs: &[Feature]| {
            Capabilities::negotiate(DASHBOARD_FEATURES, theirs, Dialect::Extended).output_format()
        };
        assert_eq!(format(&[]), OutputFormat::Lines);
        assert_eq!(format(&[Feature::OutputSpool]), OutputFormat::Lines);
        assert_eq!(format(&[Feature::OutputBytes]), OutputFormat::Bytes);
        assert_eq!(format(&[Feature::OutputBytes, Feature::OutputSpool]), OutputFormat::Records);
        assert_eq!(Capabilities::LEGACY.output_format(), OutputFormat::Lines);
    }
}
