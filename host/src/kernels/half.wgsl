// Two f16 values in a word, and infinity for what is beyond f16's range, where the built-in conversion is free to do
// anything.
fn half_bits(values: vec2<f32>) -> u32 {
    let bits = pack2x16float(clamp(values, vec2(-65504.0), vec2(65504.0)));
    let beyond = select(vec2(0u), vec2(0x7c00u, 0x7c000000u), abs(values) > vec2(65504.0));
    let sign = select(vec2(0u), vec2(0x8000u, 0x80000000u), values < vec2(0.0));
    let low = select(bits & 0xffffu, beyond.x | sign.x, beyond.x != 0u);
    let high = select(bits & 0xffff0000u, beyond.y | sign.y, beyond.y != 0u);
    return low | high;
}
