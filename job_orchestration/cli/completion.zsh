#compdef job-orchestration jo
# Completion of job-orchestration and jo for zsh. Add to ~/.zshrc, after compinit:
#   eval "$(job-orchestration completion zsh)"
_job_orchestration() {
    local -a found matches abouts
    local hint match about
    found=("${(@0)$(command job-orchestration __complete zsh "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    hint=${found[1]}
    shift found
    for match about in "${found[@]}"; do
        [[ -n $match ]] || continue
        matches+=("$match")
        abouts+=("${(V)match}${about:+  ($about)}")
    done
    if (( ${#matches} )); then
        compadd -l -d abouts -a matches
    elif [[ $hint == files ]]; then
        _files
    elif [[ $hint == folders ]]; then
        _files -/
    fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _job_orchestration "$@"
else
    compdef _job_orchestration job-orchestration jo
fi
