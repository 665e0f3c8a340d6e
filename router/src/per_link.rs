//! A task for each link, which is told its settings and tells how it goes.

use std::collections::BTreeMap;

use sluice_api::types::LinkName;
use tokio::sync::watch;

/// What a task hears: its settings, or that it is to end.
pub(crate) type Settings<S> = watch::Receiver<Option<S>>;

/// One task.
pub(crate) struct Told<S, R> {
    pub(crate) settings: watch::Sender<Option<S>>,
    pub(crate) news: watch::Receiver<R>,
}

/// The tasks by link.
pub(crate) struct PerLink<S, R>(pub(crate) BTreeMap<LinkName, Told<S, R>>);

impl<S, R> Default for PerLink<S, R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S: Clone + PartialEq, R: Default> PerLink<S, R> {
    /// Brings the tasks to `wanted`: those of other links end, new ones begin by `start`, and whose settings changed is told.
    pub(crate) fn follow(
        &mut self,
        wanted: &[S],
        link: impl Fn(&S) -> &LinkName,
        start: impl Fn(Settings<S>, watch::Sender<R>),
    ) {
        let is_wanted = |name: &LinkName| wanted.iter().any(|one| link(one) == name);
        for (_, told) in self.0.extract_if(.., |name, _| !is_wanted(name)) {
            told.settings.send_replace(None);
        }
        for one in wanted {
            let told = self.0.entry(link(one).clone()).or_insert_with(|| {
                let (settings, heard) = watch::channel(Some(one.clone()));
                let (tell, news) = watch::channel(R::default());
                start(heard, tell);
                Told { settings, news }
            });
            told.settings.send_if_modified(|old| {
                let changed = old.as_ref() != Some(one);
                *old = Some(one.clone());
                changed
            });
        }
    }
}
