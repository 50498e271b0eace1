// The parameters of a product: its dimensions, the distances from one row and from one column of a factor to the next,
// whether it is added to out, and what it is divided by.

struct Params {
    m: u32, n: u32, k: u32,
    a_row: u32, a_column: u32, b_row: u32, b_column: u32,
    accumulate: u32, scale: f32,
}

var<immediate> params: Params;

