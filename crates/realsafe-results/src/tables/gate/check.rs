//! The checks of the gate by name.

use serde::Serialize;

/// What makes a result suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Samples stay robust at any distance.
    Unbounded,
    /// Attacks without gradients break more.
    BlackBoxWins,
    /// Earlier iterates break more.
    MoreIterationsHurt,
    /// An attack of one step breaks more.
    OneStepWins,
    /// First gradients are zero or not a number.
    ZeroGradients,
    /// The same image gets different answers.
    RandomAnswers,
    /// Members of a chain without gradients break what those with gradients left.
    BlackBoxMemberWins,
    /// What is proven does not hold.
    CertificateBroken,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 8] = [
        Self::Unbounded,
        Self::BlackBoxWins,
        Self::MoreIterationsHurt,
        Self::OneStepWins,
        Self::ZeroGradients,
        Self::RandomAnswers,
        Self::BlackBoxMemberWins,
        Self::CertificateBroken,
    ];

    /// The word that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unbounded => "unbounded",
            Self::BlackBoxWins => "black-box-wins",
            Self::MoreIterationsHurt => "more-iterations-hurt",
            Self::OneStepWins => "one-step-wins",
            Self::ZeroGradients => "zero-gradients",
            Self::RandomAnswers => "random-answers",
            Self::BlackBoxMemberWins => "black-box-member-wins",
            Self::CertificateBroken => "certificate-broken",
        }
    }

    /// What an experiment must have for it; none for checks of what few experiments have.
    pub const fn needs(self) -> Option<&'static str> {
        match self {
            Self::Unbounded => Some("an eps that spans the box, or an attack that minimises the distance"),
            Self::BlackBoxWins => Some("attacks with and without gradients"),
            Self::MoreIterationsHurt => Some("`record`"),
            Self::OneStepWins => Some("attacks of one gradient and of several"),
            Self::ZeroGradients | Self::RandomAnswers | Self::BlackBoxMemberWins | Self::CertificateBroken => None,
        }
    }

    /// Whether an attack that minimises the distance passes it or not radius by radius, and not as a whole.
    pub(crate) const fn is_about_a_radius(self) -> bool {
        !matches!(self, Self::Unbounded | Self::ZeroGradients | Self::RandomAnswers | Self::CertificateBroken)
    }
}

/// Why a result is suspect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suspicion {
    /// The check that it does not pass.
    pub check: Check,
    /// What was measured, in words.
    pub evidence: String,
}
