"""A cluster of Weir's own processes on this machine, for the scripts beside this file: its folder, its daemons, its REST, its logs."""
import datetime, glob, json, os, re, shutil, subprocess, sys, tempfile, time, urllib.request

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def options(parser, **more):
    """Adds what every script takes: the programs, the ports, settings of the job, and each further name with its default."""
    for name, default in {"weir": root + "/bin/weir", "bench": root + "/bin/bench", "rest": 18181, "rpc": 16181, **more}.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    parser.add_argument("--config", action="append", default=[], help="KEY=VALUE for the job")
    return parser.parse_args()


def parse(t):
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", t.replace("Z", "+00:00"))).timestamp()


class Cluster:
    def __init__(self, o, taskmanagers=1, slots=2, config=()):
        self.o, self.slots, self.config, self.started, self.job = o, slots, config, {}, None
        self.folder = tempfile.mkdtemp(prefix="weir-bench-")
        self.rest = f"http://127.0.0.1:{o.rest}"
        self.start("jm", "jobmanager", "--rest", f"127.0.0.1:{o.rest}", "--rpc", f"127.0.0.1:{o.rpc}", "--data", f"{self.folder}/jm")
        for i in range(taskmanagers):
            self.taskmanager(i)
        self.until("TaskManagers", lambda: self.get("/overview")["taskmanagers"] == taskmanagers, 30)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for v in self.started.values():
            v.terminate()
        for v in self.started.values():
            v.wait()
        if kind in (None, KeyboardInterrupt):
            shutil.rmtree(self.folder)

    def start(self, name, *args):
        log = open(f"{self.folder}/{name}.log", "a")
        self.started[name] = subprocess.Popen([self.o.weir, *args], stdout=log, stderr=log)

    def taskmanager(self, i):
        self.start(f"tm{i}", "taskmanager", "--jobmanager", f"127.0.0.1:{self.o.rpc}", "--slots", str(self.slots), "--data", f"{self.folder}/tm{i}",
                   *[x for c in self.config for x in ("-D", c)])

    def weir(self, *args):
        r = subprocess.run([self.o.weir, *args, "-m", f"127.0.0.1:{self.o.rest}"], capture_output=True, text=True)
        if r.returncode:
            sys.exit(f"weir {' '.join(args)}: exit {r.returncode}: {r.stderr.strip()}; logs are in {self.folder}")
        return r.stdout

    def run(self, *args, parallelism=2):
        config = [x for c in self.o.config for x in ("-D", c)]
        r = subprocess.run([self.o.weir, "run", "-d", "-p", str(parallelism), "-m", f"127.0.0.1:{self.o.rest}", *config, self.o.bench, "--", *map(str, args)], capture_output=True, text=True)
        if r.returncode:
            sys.exit(f"weir run: exit {r.returncode}: {r.stderr.strip()}")
        self.job = r.stdout.split()[-1]
        return self.job

    def get(self, path):
        return json.load(urllib.request.urlopen(self.rest + path, timeout=10))

    def until(self, what, f, seconds=600):
        end = time.time() + seconds
        while time.time() < end:
            try:
                if v := f():
                    return v
            except OSError:
                pass
            time.sleep(0.02)
        sys.exit(f"{what}: not within {seconds} s; logs are in {self.folder}")

    def describe(self):
        return json.loads(self.weir("describe", self.job, "-o", "json"))

    def subtasks(self):
        return [s for v in self.describe()["vertices"] for s in v["subtasks"]]

    def checkpoint(self):
        """Id and bytes of the newest completed checkpoint."""
        c = self.describe().get("last-completed-checkpoint") or {}
        return c.get("id", 0), c.get("bytes", 0)

    def next_checkpoint(self, seconds=120):
        id, _ = self.checkpoint()
        self.until("checkpoint", lambda: self.checkpoint()[0] > id, seconds)

    def logged(self, message, t0=0.0):
        """(time, subtask) of each log line of a worker with this message, not before t0."""
        found = []
        for path in glob.glob(f"{self.folder}/tm*/**/worker-*.log", recursive=True):
            for line in open(path, errors="replace"):
                if f'msg="{message}"' in line and (t := parse(re.search(r"time=(\S+)", line)[1])) >= t0 - 0.001:
                    found.append((t, re.search(r"subtask=(\S+)", line)[1]))
        return sorted(found)

    def first_results(self, t0, subtasks):
        """When the last of the sink's subtasks wrote its first result after t0."""
        at = {s: t for t, s in self.logged("first result", t0)}
        return max(at.values()) if len(at) == subtasks else None
