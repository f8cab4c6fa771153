# Completion of job-orchestration and jo for bash. Add to ~/.bashrc:
#   eval "$(job-orchestration completion bash)"
_job_orchestration() {
    local match hint=
    COMPREPLY=()
    while IFS= read -r -d '' match; do
        if [ -z "$hint" ]; then hint=$match; else COMPREPLY+=("$match"); fi
    done < <(command job-orchestration __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    case "$hint" in
        files) compopt -o default 2>/dev/null ;;
        folders) compopt -o dirnames 2>/dev/null ;;
    esac
    return 0
}
complete -F _job_orchestration job-orchestration jo
