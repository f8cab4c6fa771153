# Completion of job-orchestration and jo for fish. Save it once:
#   job-orchestration completion fish > ~/.config/fish/completions/job-orchestration.fish
function __job_orchestration_complete
    set -l found (command job-orchestration __complete fish (commandline -opc) (commandline -ct) 2>/dev/null | string split0)
    set -l hint $found[1]
    set -e found[1]
    if test (count $found) -gt 0
        printf '%s\n' $found
    else if test "$hint" = files
        __fish_complete_path (commandline -ct)
    else if test "$hint" = folders
        __fish_complete_directories (commandline -ct) ''
    end
end
complete -c job-orchestration -f -a '(__job_orchestration_complete)'
complete -c jo -f -a '(__job_orchestration_complete)'
