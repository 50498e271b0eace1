enable f16;
enable wgpu_cooperative_matrix;

// Fragments of 8 x 8 values.

alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;

const FRAGMENT = 8u;

