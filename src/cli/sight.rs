//! What the daemon tells of its fleet through the control socket: what `status`, `explain`, `history` and `plan` tell, of the configuration in force.

use super::explain::Story;
use super::history::{Entry, line};
use super::plan;
use super::scene::Scene;
use super::status::Report;
use crate::admin::sight::Sight;
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use async_trait::async_trait;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How many of its last events are told of a target.
const LATELY: usize = 100;

/// The scene in force, which its owner may change while nobody looks.
#[derive(Default)]
pub struct View(Mutex<Weak<Scene>>);

impl View {
    /// From now on this one is in force.
    pub fn follow(&self, scene: Weak<Scene>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = scene;
    }

    fn scene(&self) -> Result<Arc<Scene>, Fault> {
        let scene = self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        scene.ok_or_else(|| Fault::new(Kind::Busy, "the fleet is being changed").advise("ask again in a moment"))
    }
}

#[async_trait]
impl Sight for View {
    async fn targets(&self) -> Result<String, Fault> {
        let scene = self.scene()?;
        let snapshots = scene.snapshots_of(&scene.shown(&[])?).await?;
        document(&Report::of(&snapshots))
    }

    async fn target(&self, name: &TargetName) -> Result<Option<String>, Fault> {
        let scene = self.scene()?;
        if scene.settings(name).is_err() {
            return Ok(None);
        }
        let snapshot = scene.snapshot(name).await?;
        let mut rows = scene.history(name).await?;
        let lately = rows.split_off(rows.len().saturating_sub(LATELY));
        let lately = lately.into_iter().map(|row| line(&Entry::Of(name.clone(), row))).collect::<Result<_, _>>()?;
        document(&Story::of(&snapshot, scene.schedule_text(name), lately)).map(Some)
    }

    async fn plan(&self, span: Duration) -> Result<String, Fault> {
        let scene = self.scene()?;
        plan::document(&scene, span).await
    }
}

pub(super) fn document(what: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(what).map_err(|error| Fault::new(Kind::Bug, format!("an answer cannot be written: {error}")))
}
