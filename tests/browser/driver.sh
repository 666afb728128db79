# Owns chromedriver, its browsers and their files, so that all go with the process that started them.
# Standard input is a pipe whose other end only that process holds: when it dies, even by SIGKILL, `cat` ends here.
# $1 = chromedriver, working directory = the directory to own. What chromedriver says on standard output is the answer.

trap '' HUP INT QUIT TERM PIPE
directory=$PWD
TMPDIR=$directory "$1" --port=0 --log-level=SEVERE --log-path="$directory/log" </dev/null &
cat >/dev/null

# A browser that is ending still writes, so this is repeated.
kill -s TERM 0
wait
for _ in 1 2 3 4 5 6 7 8 9 10; do
    cd / && rm -rf "$directory" 2>/dev/null && break
    sleep 0.2
done
# Whatever did not want to end; the group is ours alone.
kill -s KILL 0
