//! Work on many layers: side by side, and in turn where they share a weight.

use std::collections::HashSet;

use burn::module::ParamId;
use specclip::clip;
use specclip::parallel::side_by_side;

use super::watched::{LayerReport, Watched};
use super::{Clipper, params};
use crate::error::Error;
use crate::layer::{Parameters, Values};

impl Clipper {
    /// Lets `work` move the parameters of the layers that `which` chooses. Returns those that have moved, which are in
    /// `values` then, and what `work` says of each layer. Layers are worked on side by side, but for those that share a
    /// weight: of these the later ones begin with what the earlier ones have left.
    pub(super) fn move_each<R: Send>(
        &mut self,
        values: &mut Parameters,
        which: impl Fn(&Watched) -> bool,
        work: impl Fn(&mut Watched, &Parameters) -> Result<(R, Values), Error> + Sync,
    ) -> Result<(HashSet<ParamId>, Vec<R>), Error> {
        let shared = self.shared();
        let alone = |watched: &Watched| {
            let weights = watched.unit.weights();
            !weights.iter().any(|id| shared.contains(id))
        };
        let chosen = |watched: &Watched| which(watched) && alone(watched);
        let done = each(&mut self.watched, chosen, |watched| work(watched, values));
        let (mut changed, mut results) = (HashSet::new(), Vec::new());
        let mut take = |done: (usize, Result<(R, Values), Error>), values: &mut Parameters| {
            let (result, updates) = done.1?;
            results.push((done.0, result));
            changed.extend(updates.keys().copied());
            values.extend(updates);
            Ok::<(), Error>(())
        };
        for done in done {
            take(done, values)?;
        }
        for (i, watched) in self.watched.iter_mut().enumerate() {
            if which(watched) && !alone(watched) {
                let done = work(watched, values);
                take((i, done), values)?;
            }
        }
        results.sort_by_key(|&(i, _)| i);
        let results = results.into_iter().map(|(_, result)| result).collect();
        Ok((changed, results))
    }

    /// The weights that several layers use.
    fn shared(&self) -> HashSet<ParamId> {
        let mut seen = HashSet::new();
        let all = self
            .watched
            .iter()
            .flat_map(|watched| watched.unit.weights());
        all.filter(|&id| !seen.insert(id)).collect()
    }

    /// Weights that several layers use obey the tightest: what one use has moved is measured again in
    /// all of them, and multiplied down.
    pub(super) fn settle_shared(
        &mut self,
        values: &mut Parameters,
        changed: &mut HashSet<ParamId>,
        reports: &mut [LayerReport],
    ) -> Result<(), Error> {
        let scale = params(clip::Method::Scale);
        let shared = self.shared();
        for (i, watched) in self.watched.iter_mut().enumerate() {
            let moved = |id: &ParamId| shared.contains(id) && changed.contains(id);
            if !watched.unit.weights().iter().any(moved) {
                continue;
            }
            let (report, updates) = watched.clip(values, &scale)?;
            reports[i].after = report.after;
            reports[i].converged &= report.converged;
            reports[i].matvecs += report.matvecs;
            // Of a composition gamma moves, whatever has moved before.
            changed.extend(updates.keys().copied());
            values.extend(updates);
        }
        Ok(())
    }
}

/// What `work` makes of the layers that `which` chooses, behind their places, in their order. Layers are worked on side by side,
/// but for one that is more work than all others leave to a thread: it gets all threads.
pub(super) fn each<R: Send>(
    watched: &mut [Watched],
    mut which: impl FnMut(&Watched) -> bool,
    work: impl Fn(&mut Watched) -> R + Sync,
) -> Vec<(usize, R)> {
    let chosen = watched.iter_mut().enumerate();
    let mut chosen: Vec<(usize, &mut Watched)> = chosen.filter(|(_, w)| which(w)).collect();
    // The longest first, so that none of them is left for the end.
    chosen.sort_by_key(|(_, watched)| std::cmp::Reverse(watched.unit.work()));
    let total: usize = chosen.iter().map(|(_, w)| w.unit.work()).sum();
    let share = total / rayon::current_num_threads();
    let large = chosen
        .iter()
        .take_while(|(_, w)| w.unit.work() > share)
        .count();
    let small = chosen.split_off(large);
    let alone = chosen.into_iter().map(|(i, watched)| (i, work(watched)));
    let mut results: Vec<(usize, R)> = alone.collect();
    results.extend(side_by_side(small, |_, (i, watched)| (i, work(watched))));
    results.sort_by_key(|&(i, _)| i);
    results
}
