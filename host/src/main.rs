//! The program `fusemix`.

fn main() -> std::process::ExitCode {
    fusemix::cli::main()
}
