# Runs a Postgres of one test. Descriptor 3 is a pipe whose other end the test
# process holds: when that is gone, however it ended, so are server and folder.
#
#   guard.sh DIR POSTGRES ARGUMENTS…
dir=$1
shift
"$@" >>"$dir/server.log" 2>&1 </dev/null 3<&- &
server=$!
(
    read -r _ <&3
    kill -QUIT "$server"
    rm -rf "$dir"
) &
watcher=$!
wait "$server"
kill "$watcher" 2>/dev/null
