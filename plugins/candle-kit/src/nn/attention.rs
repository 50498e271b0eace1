//! Self-attention of several sequences that lie one after the other, without padding.

use candle_core::{Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::matmul::{Matrix, matmul};
use super::{is_fast, simd, values};

/// Query rows whose scores are in memory at once.
const BLOCK: usize = 64;

/// How sequences share the rows of one tensor: the first `lengths[0]` rows are the first sequence, and so on.
pub struct Packing {
    lengths: Vec<usize>,
    /// Where candle's kernels do the work.
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

/// Each row of `q` sees all rows of its own sequence: `softmax(q k^T / sqrt(d)) v` in each of `heads` slices of `d` columns.
/// All three are `tokens x heads * d`, in columns of a wider tensor if need be; so is the result.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, packing: &Packing) -> Result<Tensor> {
    match &packing.padded {
        None if is_fast(q) => packed(q, k, v, heads, &packing.lengths),
        None => padded(q, k, v, heads, &Padded::new(&packing.lengths, q.device())?),
        Some(padding) => padded(q, k, v, heads, padding),
    }
}

fn packed(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, lengths: &[usize]) -> Result<Tensor> {
    let (tokens, width) = q.dims2()?;
    let d = width / heads;
    let scale = 1.0 / (d as f32).sqrt();
    let (q, k, v) = (q.storage_and_layout(), k.storage_and_layout(), v.storage_and_layout());
    let [(q, q_stride), (k, k_stride), (v, v_stride)] =
        [(&q.0, q.1), (&k.0, k.1), (&v.0, v.1)].map(|(storage, layout)| (values(storage, layout), layout.stride()[0]));
    let (q, k, v) = (q?, k?, v?);

    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut scores = vec![0.0; BLOCK.min(longest) * longest];
    let mut out = vec![0.0; tokens * width];
    let mut start = 0;
    for &length in lengths {
        for column in (0..width).step_by(d) {
            let keys = Matrix::new(&k[start * k_stride + column..], length, d, k_stride);
            let seen = Matrix::new(&v[start * v_stride + column..], length, d, v_stride);
            for block in (start..start + length).step_by(BLOCK) {
                let rows = BLOCK.min(start + length - block);
                let queries = Matrix::new(&q[block * q_stride + column..], rows, d, q_stride);
                let scores = &mut scores[..rows * length];
                matmul(scores, length, queries, keys.transposed(), scale, false);
                simd::run(simd::Softmax { rows: scores, width: length });
                let scores = Matrix::new(scores, rows, length, length);
                matmul(&mut out[block * width + column..], width, scores, seen, 1.0, false);
            }
        }
        start += length;
    }
    Tensor::from_vec(out, (tokens, width), &Device::Cpu)
}

fn padded(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, padding: &Padded) -> Result<Tensor> {
    let (_, width) = q.dims2()?;
    let (longest, d) = (padding.longest, width / heads);
    // tokens x width -> sequences x heads x longest x d
    let split = |rows: &Tensor| {
        let rows = rows.contiguous()?.index_select(&padding.pack, 0)?;
        rows.reshape(((), longest, heads, d))?.transpose(1, 2)?.contiguous()
    };
    let scores = (split(q)?.matmul(&split(k)?.t()?)? / (d as f64).sqrt())?;
    let scores = softmax_last_dim(&scores.broadcast_add(&padding.mask.to_dtype(q.dtype())?)?)?;
    let out = scores.matmul(&split(v)?)?.transpose(1, 2)?;
    out.reshape(((), width))?.index_select(&padding.unpack, 0)
}

#[cfg(test)]
mod tests {
    use super::{Device, Padded, Result, Tensor, packed, padded};

    #[test]
    fn packed_is_padded() -> Result<()> {
        let (heads, d, lengths) = (3, 8, [1, 65, 7, 130]);
        let (tokens, width) = (lengths.iter().sum::<usize>(), heads * d);
        let qkv = Tensor::randn(0f32, 1.0, (tokens, 3 * width), &Device::Cpu)?;
        let [q, k, v] = [0, 1, 2].map(|part| qkv.narrow(1, part * width, width));
        let (q, k, v) = (q?, k?, v?);
        let fast = packed(&q, &k, &v, heads, &lengths)?;
        let slow = padded(&q, &k, &v, heads, &Padded::new(&lengths, &Device::Cpu)?)?;
        let apart = (fast - slow)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(apart < 1e-5, "{apart}");
        Ok(())
    }
}
