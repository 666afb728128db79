# shellcheck shell=sh
# Owns one server and its directory, so that both go with the process that started them.
# Standard input is a pipe whose other end only that process holds: when it dies, even by SIGKILL, `read` fails here.
# $0 = folder of the binaries, "$@" = arguments of postgres, working directory = the directory to own.
# Orders on standard input: `initdb`, `copy <port>` of another server, `start <port>`, `crash`, or the name of a signal.
# Answers on standard output: `started <pid>`, `exited <status>`.

# A closed answer pipe must not end the guard before its last lines. The other signals go to the whole group, here too.
trap '' HUP INT QUIT TERM PIPE
directory=$PWD

run() {
    "$@" </dev/null >log 2>&1 &
    echo "started $!"
    wait "$!"
    status=$?
    rm -f running
    echo "exited $status"
}

while read -r order port; do
    case $order in
        initdb) run "$0/initdb" -D data -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync ;;
        copy)
            run "$0/pg_basebackup" -D data -h 127.0.0.1 -p "$port" -U postgres -R -X stream --checkpoint=fast --no-sync
            ;;
        start)
            : >running
            run "$0/postgres" -D data -h 127.0.0.1 -p "$port" -k '' "$@" &
            ;;
        # Only the server's first process: the others notice, and end by themselves.
        crash) kill -s KILL "$(head -n 1 data/postmaster.pid)" ;;
        *) kill -s "$order" 0 ;;
    esac
done

# Repeated, because a server that has just been forked still ignores the signal.
while [ -e running ]; do
    kill -s QUIT 0
    sleep 0.1
done
cd / && rm -rf "$directory"
