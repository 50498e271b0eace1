//! What must hold of the towers in a file's metadata before their tensors are read: a crafted file is refused, and
//! neither panics nor takes memory that its tensors do not.

use super::AdapterKind;
use super::stored::{StoredKind, StoredTower};

/// An error unless the sizes of these towers can be those of `values` values in `tensors` tensors.
pub(super) fn check(towers: &[StoredTower], values: usize, tensors: usize) -> Result<(), String> {
    let shared = towers.first().map_or(0, |tower| tower.shared);
    if shared == 0 || towers.iter().any(|tower| tower.width == 0 || tower.shared != shared) {
        return Err("`towers`: widths must be above 0, and the shared one the same for all".to_owned());
    }
    for (at, tower) in towers.iter().enumerate() {
        if towers[..at].iter().any(|before| before.name == tower.name) {
            return Err(format!("`towers`: `{}` is there twice", tower.name));
        }
        fits(tower, values, tensors).map_err(|reason| format!("`towers`: {reason} of `{}`", tower.name))?;
    }
    Ok(())
}

fn fits(tower: &StoredTower, values: usize, tensors: usize) -> Result<(), &'static str> {
    let &StoredTower { adapter, width, inner, blocks, shared, ref front, .. } = tower;
    let is_identity = adapter == StoredKind::Trained(AdapterKind::Identity);
    // An identity tower has no tensors.
    if !is_identity && [width, inner, shared].into_iter().any(|size| size > values) || blocks > tensors {
        return Err("the file is too small for the sizes");
    }
    if is_identity && (width != shared || width > u32::MAX as usize) {
        return Err("an identity has another width than the shared space, or an absurd one, in the entry");
    }
    let has_blocks = matches!(adapter, StoredKind::Trained(kind) if kind.has_blocks());
    if has_blocks && blocks > 0 && inner == 0 {
        return Err("blocks have no inner values in the entry");
    }
    match front {
        None => Ok(()),
        Some(_) if adapter == StoredKind::Projection => Err("a map in closed form has a front in the entry"),
        Some(front) if front.adapter != StoredKind::Projection || front.front.is_some() || front.width == 0 => {
            Err("the front is no map in closed form in the entry")
        }
        Some(front) => fits(front, values, tensors),
    }
}
