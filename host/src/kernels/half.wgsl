// Pairs of f16 values in a line, which begins at a multiple of eight values.
fn half_line(width: u32) -> u32 {
    return (width + 7u) / 8u * 4u;
}

// Two f16 values in a word: infinite where f16 does not reach, and NaN where that is what they are. The bits say so, as a
// compiler may assume of values that they are neither.
fn half_bits(values: vec2<f32>) -> u32 {
    let size = bitcast<vec2<u32>>(values) & vec2(0x7fffffffu);
    // From 65,520 on, which is nearer to 65,536 than to the largest f16, 65,504.
    let beyond = size >= vec2(0x477ff000u);
    let sign = (bitcast<vec2<u32>>(values) >> vec2(16u)) & vec2(0x8000u);
    let end = select(vec2(0x7c00u), vec2(0x7e00u), size > vec2(0x7f800000u)) | sign;
    let bits = pack2x16float(select(clamp(values, vec2(-65504.0), vec2(65504.0)), vec2(0.0), beyond));
    return select(bits & 0xffffu, end.x, beyond.x) | select(bits & 0xffff0000u, end.y << 16u, beyond.y);
}
