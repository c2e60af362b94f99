//! The experiments file or the sample of `serve`, applied to its control plane.

use edgeseal_control::{Context, Control, ControlError};
use edgeseal_core::ids::Environment;

use super::watch::FileWatch;
use crate::exit::{Failure, Outcome};
use crate::experiments_file::ExperimentsFile;
use crate::plane;
use crate::ruleset_source::SourceArgs;

/// Where the experiments come from, besides the API.
pub(super) struct Experiments {
    watched: Option<FileWatch>,
    demo: bool,
    asked: Option<Environment>,
}

impl Experiments {
    pub(super) fn new(source: &SourceArgs, asked: Option<Environment>) -> Self {
        Self { watched: source.experiments.clone().map(FileWatch::new), demo: source.demo, asked }
    }

    /// Reads the file or the sample; `None` when neither was named.
    pub(super) fn load(&mut self) -> Outcome<Option<ExperimentsFile>> {
        let mut file = match &mut self.watched {
            Some(watched) => {
                watched.changed();
                ExperimentsFile::load(watched.path())?
            }
            None if self.demo => ExperimentsFile::demo()?,
            None => return Ok(None),
        };
        file.settle_environment(self.asked.as_ref())?;
        Ok(Some(file))
    }

    /// Applies what was read at the start. A file is the truth and applied every time; the sample is for a new
    /// environment only, so that what people changed through the API survives a restart.
    ///
    /// # Errors
    /// Only when there is nothing else to serve.
    pub(super) async fn begin(
        &self,
        control: &Control,
        environment: &Environment,
        first: Outcome<Option<ExperimentsFile>>,
        first_start: bool,
    ) -> Outcome<()> {
        let applied = match first {
            Ok(Some(file)) if self.watched.is_some() || first_start => {
                self.apply(control, environment, &file).await
            }
            Ok(_) => Ok(()),
            Err(failure) => Err(failure),
        };
        match applied {
            Err(failure) if !first_start => told(&failure),
            outcome => return outcome,
        }
        Ok(())
    }

    /// Applies the file if it changed; one with a mistake is refused whole and told.
    pub(super) async fn look(&mut self, control: &Control, environment: &Environment) {
        if !self.watched.as_mut().is_some_and(FileWatch::changed) {
            return;
        }
        let applied = match self.load() {
            Ok(Some(file)) => self.apply(control, environment, &file).await,
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = applied {
            told(&failure);
        }
    }

    async fn apply(
        &self,
        control: &Control,
        environment: &Environment,
        file: &ExperimentsFile,
    ) -> Outcome<()> {
        let theirs = &file.definition().environment;
        if theirs != environment {
            return Err(Failure::no(format_args!(
                "the experiments are for environment '{theirs}', but the keys of this data directory are for \
                 '{environment}': use another --data-dir, one for each environment"
            )));
        }
        let prune = self.watched.is_some();
        match control.apply(environment, &Context::system(), file.definition(), prune).await {
            Ok(applied) => {
                if applied.changed {
                    tracing::info!(changes = applied.reply.changes.len(), "the experiments file was applied");
                }
                Ok(())
            }
            Err(ControlError::Invalid { faults }) if !faults.is_empty() => {
                let fault = &faults[0];
                Err(file.refusal(&fault.pointer, &fault.detail).into())
            }
            Err(error) => Err(plane::refused(error)),
        }
    }
}

fn told(failure: &Failure) {
    tracing::error!(
        cause = format_args!("{:#}", failure.error),
        "the experiments file was refused; the last good snapshot keeps serving"
    );
}
