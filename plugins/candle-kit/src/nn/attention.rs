//! Self-attention of several sequences that lie one after the other, without padding.

use candle_core::{Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::matmul::{Matrix, matmul};
use super::{Seen, is_fast, simd, values};

/// The target number of scores of a head in a block: they stay in a core's cache, and fewer blocks of query rows mean
/// that keys and values are rearranged less often.
const BLOCK: usize = 1 << 18;
/// The minimum query rows of a block; and the maximum, if a row sees only a part.
const ROWS: usize = 64;
/// The most scores of all heads and sequences in memory at once with candle's kernels; they go through some copies.
const SCORES: usize = 1 << 26;

/// The layout of sequences in the rows of one tensor: the first `lengths[0]` rows are the first sequence, and so on.
pub struct Packing {
    lengths: Vec<usize>,
    /// The layout for candle's kernels.
    padded: Option<Padded>,
}

/// The same sequences as a rectangle of `sequences x longest`.
struct Padded {
    longest: usize,
    /// `sequences * longest`: the packed row of each place; 0 for padding.
    pack: Tensor,
    /// `tokens`: the place of each packed row.
    unpack: Tensor,
    /// `sequences x 1 x 1 x longest`: 0, or -inf for padding.
    mask: Tensor,
}

impl Packing {
    /// Sequences of `lengths` rows each, none of them empty, on `device`.
    pub fn new(lengths: Vec<usize>, device: &Device) -> Result<Self> {
        let padded = if device.is_cpu() { None } else { Some(Padded::new(&lengths, device)?) };
        Ok(Self { lengths, padded })
    }

    /// Rows of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Rows of all sequences.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The place of each row in its own sequence.
    pub fn positions(&self) -> Vec<u32> {
        self.lengths.iter().flat_map(|&length| 0..length as u32).collect()
    }
}

impl Padded {
    fn new(lengths: &[usize], device: &Device) -> Result<Self> {
        let (sequences, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let (mut pack, mut mask) = (vec![0u32; sequences * longest], vec![f32::NEG_INFINITY; sequences * longest]);
        let mut unpack = Vec::new();
        for (sequence, &length) in lengths.iter().enumerate() {
            for place in sequence * longest..sequence * longest + length {
                (pack[place], mask[place]) = (unpack.len() as u32, 0.0);
                unpack.push(place as u32);
            }
        }
        Ok(Self {
            longest,
            pack: Tensor::new(pack, device)?,
            unpack: Tensor::new(unpack, device)?,
            mask: Tensor::from_vec(mask, (sequences, 1, 1, longest), device)?,
        })
    }
}

/// Attention in which each row of `q` sees all rows of its own sequence: `softmax(q k^T / sqrt(d)) v` in each of
/// `heads` slices of `d` columns. All three are `tokens x heads * d`, possibly in columns of a wider tensor; so is the
/// result.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, packing: &Packing) -> Result<Tensor> {
    attention_within(&Seen::default(), q, k, v, heads, packing)
}

/// [`attention`] to what is `seen`. `k` and `v` may have fewer heads, each of which serves several of `q`, one after
/// the other.
pub fn attention_within(
    seen: &Seen,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    packing: &Packing,
) -> Result<Tensor> {
    match &packing.padded {
        None if is_fast(q) => {
            let longest = packing.lengths.iter().copied().max().unwrap_or(0).max(1);
            // Of a band, the rows of a short block see few.
            let most = if seen.is_all() { ROWS.max(BLOCK / longest) } else { ROWS };
            packed(seen, q, k, v, heads, &packing.lengths, most)
        }
        None => padded(seen, q, k, v, heads, &Padded::new(&packing.lengths, q.device())?, SCORES),
        Some(padding) => padded(seen, q, k, v, heads, padding, SCORES),
    }
}

/// Computes in blocks of `most` query rows.
fn packed(
    seen: &Seen,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    lengths: &[usize],
    most: usize,
) -> Result<Tensor> {
    let (tokens, width) = q.dims2()?;
    let d = width / heads;
    // Heads of `q` to one of `k` and `v`.
    let group = width / k.dim(1)?;
    let scale = 1.0 / (d as f32).sqrt();
    let (q, k, v) = (q.storage_and_layout(), k.storage_and_layout(), v.storage_and_layout());
    let [(q, q_stride), (k, k_stride), (v, v_stride)] =
        [(&q.0, q.1), (&k.0, k.1), (&v.0, v.1)].map(|(storage, layout)| (values(storage, layout), layout.stride()[0]));
    let (q, k, v) = (q?, k?, v?);

    let longest = lengths.iter().copied().max().unwrap_or(0);
    let most = most.min(longest);
    let (mut scores, mut sums) = (vec![0.0; most * longest], vec![0.0; most]);
    let mut out = vec![0.0; tokens * width];
    let mut start = 0;
    for &length in lengths {
        for head in 0..heads {
            let (column, shared) = (head * d, head / group * d);
            for block in (0..length).step_by(most) {
                let rows = block..length.min(block + most);
                let columns = seen.range(rows.clone(), length);
                let (first, width_seen) = (start + columns.start, columns.len());
                let queries = Matrix::new(&q[(start + block) * q_stride + column..], rows.len(), d, q_stride);
                let keys = Matrix::new(&k[first * k_stride + shared..], width_seen, d, k_stride);
                let values = Matrix::new(&v[first * v_stride + shared..], width_seen, d, v_stride);
                let (scores, sums) = (&mut scores[..rows.len() * width_seen], &mut sums[..rows.len()]);
                let out = &mut out[(start + block) * width + column..];
                matmul(scores, width_seen, queries, keys.transposed(), scale, false);
                seen.apply(scores, head, rows.clone(), columns);
                simd::run(simd::Exp { rows: scores, width: width_seen, sums });
                let scores = Matrix::new(scores, rows.len(), width_seen, width_seen);
                matmul(out, width, scores, values, 1.0, false);
                // The softmax's division, where there are `d` columns of it instead of all that is seen.
                for (row, sum) in out.chunks_mut(width).zip(sums) {
                    row[..d].iter_mut().for_each(|value| *value /= *sum);
                }
            }
        }
        start += length;
    }
    Tensor::from_vec(out, (tokens, width), &Device::Cpu)
}

/// Computes in blocks of query rows with at most so many `scores`, or of one row.
fn padded(
    seen: &Seen,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    padding: &Padded,
    scores: usize,
) -> Result<Tensor> {
    let (_, width) = q.dims2()?;
    let (longest, d) = (padding.longest, width / heads);
    let group = width / k.dim(1)?;
    // tokens x columns -> sequences x heads x longest x d
    let split = |rows: &Tensor, repeat: usize| {
        let rows = rows.contiguous()?.index_select(&padding.pack, 0)?.reshape(((), longest, heads / repeat, 1, d))?;
        let rows = rows.broadcast_as((rows.dim(0)?, longest, heads / repeat, repeat, d))?;
        rows.reshape(((), longest, heads, d))?.transpose(1, 2)?.contiguous()
    };
    let (q, k, v) = (split(q, 1)?, split(k, group)?.t()?, split(v, group)?);
    let (mask, scale) = (padding.mask.to_dtype(q.dtype())?, 1.0 / (d as f64).sqrt());
    let each = (scores / (q.dim(0)? * heads * longest)).max(1);
    let block = |start: usize| {
        let rows = start..longest.min(start + each);
        let mut scores = (q.narrow(2, start, rows.len())?.matmul(&k)? * scale)?;
        if let Some(bias) = seen.bias(rows, longest, q.device())? {
            scores = scores.broadcast_add(&bias.to_dtype(q.dtype())?.unsqueeze(0)?)?;
        }
        softmax_last_dim(&scores.broadcast_add(&mask)?)?.matmul(&v)
    };
    let blocks = (0..longest).step_by(each).map(block).collect::<Result<Vec<_>>>()?;
    let out = Tensor::cat(&blocks, 2)?.transpose(1, 2)?;
    out.reshape(((), width))?.index_select(&padding.unpack, 0)
}

#[cfg(test)]
mod tests {
    use super::{Device, Padded, Result, Seen, Tensor, packed, padded};

    #[test]
    fn packed_is_padded() -> Result<()> {
        let (heads, d, lengths) = (6, 8, [1, 65, 7, 130]);
        let tokens = lengths.iter().sum::<usize>();
        let by_distance = Seen::by_distance(2, (0..heads * 5).map(|at| (at as f32).sin()).collect());
        let seen =
            [Seen::default(), Seen::causal(), Seen::within(3), Seen::within(64), Seen::fading(heads), by_distance];
        // Of `k` and `v`: as many as `q` has, fewer, one.
        for (seen, shared) in seen.iter().flat_map(|seen| [6, 2, 1].map(|shared| (seen, shared))) {
            let qkv = Tensor::randn(0f32, 1.0, (tokens, (heads + 2 * shared) * d), &Device::Cpu)?;
            let q = qkv.narrow(1, 0, heads * d)?;
            let [k, v] = [0, 1].map(|part| qkv.narrow(1, (heads + part * shared) * d, shared * d));
            let (k, v) = (k?, v?);
            // All rows at once, 100 of them, one.
            for most in [130, 100, 1] {
                let fast = packed(seen, &q, &k, &v, heads, &lengths, most)?;
                let scores = most * lengths.len() * heads * 130;
                let slow = padded(seen, &q, &k, &v, heads, &Padded::new(&lengths, &Device::Cpu)?, scores)?;
                let apart = (fast - slow)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(apart < 1e-5, "{seen:?}, {shared} heads of k, {most} rows: {apart}");
            }
        }
        Ok(())
    }

    /// Rows that a row does not see have no effect.
    #[test]
    fn what_is_not_seen_does_not_count() -> Result<()> {
        let tokens = 150;
        let rows = |seed: f32| Tensor::arange(0f32, (tokens * 4) as f32, &Device::Cpu)?.affine(0.7, seed as f64)?.sin();
        let rows = |seed| rows(seed)?.reshape((tokens, 4));
        let (q, k, v) = (rows(0.0)?, rows(1.0)?, rows(2.0)?);
        let beginning = |tokens: usize| -> Result<Vec<Vec<f32>>> {
            let part = |all: &Tensor| all.narrow(0, 0, tokens);
            packed(&Seen::causal(), &part(&q)?, &part(&k)?, &part(&v)?, 1, &[tokens], 64)?.to_vec2()
        };
        for (short, long) in beginning(70)?.iter().zip(beginning(tokens)?) {
            assert!(short.iter().zip(&long).all(|(a, b)| (a - b).abs() < 1e-6), "{short:?} is not {long:?}");
        }
        let itself = packed(&Seen::within(0), &q, &k, &v, 1, &[tokens], 64)?;
        assert!((itself - v)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-6);
        Ok(())
    }
}
