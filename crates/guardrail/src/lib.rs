//! The guardrail: looks at the totals of every running experiment every few seconds, and pauses what does harm.
//!
//! It pauses once and never resumes; a person does that, and begins a new budget with it. What it concludes is pure:
//! [`judge()`] turns one [`Look`] at an experiment into a [`Judgement`]. [`Guardrail`] reads looks from the store and hands
//! decisions to [`Actions`], which the binary implements over the control plane. An alert goes into the outbox in the
//! transaction of the pause that it tells about; [`Outbox`] delivers it.
//!
//! | | |
//! | --- | --- |
//! | [`settings`] | what an experiment's definition says about its guardrails |
//! | [`judge()`] | totals and earlier findings → verdicts, and what to do |
//! | [`health`] | leaks, drift and failing verification, which alert only |
//! | [`run`] | when, and on what |
//! | [`act`] | what the control plane has to offer |
//! | [`alert`] | what is sent: Standard Webhooks, Slack, PagerDuty |
//! | [`outbox`] | sending it, again until it works |
//!
//! The formulas and their sources: `docs/statistics.md`.

pub mod act;
pub mod alert;
pub mod health;
pub mod judge;
pub mod outbox;
pub mod run;
pub mod settings;

pub use act::{ActError, Acted, Actions, PauseOrder};
pub use alert::{AlertBody, Channel};
pub use health::{HealthLimits, HealthWarning};
pub use judge::{Alarm, Decision, Detail, Finding, Judgement, Look, Verdict, Withheld, judge};
pub use outbox::{Outbox, Outgoing, SendError, Sender};
pub use run::{Config, Guardrail, Ticked};
pub use settings::{GuardrailMetric, Settings};
