enable f16;
enable wgpu_cooperative_matrix;

// Fragments of 16 x 16 values.

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

const FRAGMENT = 16u;

