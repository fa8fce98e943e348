import ArgumentParser
import Backup
import ThawCore

/// `thawfs backup restore`
struct BackupRestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Restore a snapshot, or a part of it.",
        usage: """
            thawfs backup restore --vault V --snapshot S [--include P]... [--exclude P]... --to oss://BUCKET/[PREFIX]
                                  [--wait[=DUR]] [--again] [--json]
            """,
        discussion: """
            Never restores twice for one wish: where there is a job for the same snapshot, paths and target that has \
            not failed, it is followed and none is made; --again makes one. With --wait it returns when all is \
            restored (0), when something was not (1), or when the time has run out (124). The target may also be \
            ecs://INSTANCE/PATH or nas://FILESYSTEM.
            """)

    @Option(help: ArgumentHelp("The snapshot's vault.", valueName: "v"))
    var vault: String

    @Option(help: ArgumentHelp("The snapshot.", valueName: "s"))
    var snapshot: String

    @Option(help: ArgumentHelp("A path in the snapshot; may be repeated. [default: all of it]", valueName: "p"))
    var include: [String] = []

    @Option(help: ArgumentHelp("A path in the snapshot that is left out; may be repeated.", valueName: "p"))
    var exclude: [String] = []

    @Option(help: ArgumentHelp("Where to: oss://BUCKET/PREFIX, ecs://INSTANCE/PATH or nas://FILESYSTEM.", valueName: "target"))
    var to: String

    @Option(help: ArgumentHelp("For nas://: when the file system was made, in Unix seconds.", valueName: "seconds"))
    var createTime: Int64?

    @Option(help: "Across accounts: the account whose data it is.")
    var crossAccountUserId: String?

    @Option(help: "Across accounts: the RAM role there that lets this account in.")
    var crossAccountRoleName: String?

    @Option(help: ArgumentHelp(
        "Wait until all is restored; --wait=5m for so long at the most, --wait alone for ever.", valueName: "dur"))
    var wait: String?

    @Flag(help: "Make a new job also where one is there that does the same.")
    var again = false

    @OptionGroup var options: BackupOptions

    func validate() throws {
        try RestoreCommand.check(wait: wait)
        if (crossAccountUserId == nil) != (crossAccountRoleName == nil) {
            throw ValidationError("--cross-account-user-id and --cross-account-role-name go together")
        }
        if target == nil {
            throw ValidationError(
                "--to \(to): expected oss://BUCKET/PREFIX, ecs://INSTANCE/PATH, or nas://FILESYSTEM with --create-time")
        }
    }

    private var target: SnapshotRestore.Target? {
        let parts = to.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        guard parts.count > 2, parts[1].isEmpty, !parts[2].isEmpty else { return nil }
        let path = parts.count > 3 ? parts[3] : ""
        switch parts[0] {
        case "oss:":
            return .bucket(parts[2], prefix: path.isEmpty || path.hasSuffix("/") ? path : path + "/")
        case "ecs:": return path.isEmpty ? nil : .instance(parts[2], path: "/" + path)
        case "nas:":
            guard path.isEmpty, let createTime else { return nil }
            return .fileSystem(parts[2], createdAt: createTime)
        default: return nil
        }
    }

    func run() async throws {
        guard let target else { return }
        let whole = SnapshotRestore(
            vault: vault, snapshot: snapshot, target: target, include: include, exclude: exclude,
            account: crossAccountUserId.flatMap { user in
                crossAccountRoleName.map { SnapshotRestore.ForeignAccount(userID: user, role: $0) }
            })
        let client = try options.client()
        var ids: [String] = []
        var areNew = false
        for part in try whole.parts() {
            let job = try await client.obtain(part) { !again && !$0.status.hasFailed }
            ids.append(job.id)
            areNew = areNew || job.isNew
            if options.json { continue }
            printLines([
                job.isNew
                    ? "job \(job.id): restoring \(part.title) to \(to)"
                    : "job \(job.id) is there and does the same; --again would make another"
            ])
        }
        let watch = BackupWatch(client: client, vault: vault, type: whole.type, ids: ids, areNew: areNew)
        guard let wait else {
            guard options.json else { return }
            // Whatever keeps them from being looked at, they are there.
            let jobs = try? await client.jobs(Set(ids), whole.type, vault: vault)
            return printDocument(["jobs": watch.documents(of: jobs ?? [])])
        }
        try await watch.run(limit: wait == "forever" ? nil : Units.duration(wait), json: options.json)
    }
}

/// `thawfs backup jobs`
struct BackupJobsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobs", abstract: "List restore jobs, the newest first, or watch some.",
        usage: "thawfs backup jobs [--vault V] [--type T] [--json]\nthawfs backup jobs --vault V JOB... [--wait[=DUR]] [--json]")

    @Argument(help: "Only these.")
    var jobs: [String] = []

    @Option(help: ArgumentHelp("Only of this vault.", valueName: "v"))
    var vault: String?

    @Option(help: "What was restored: OSS, ECS_FILE or NAS.")
    var type = BackupType.oss

    @Option(help: ArgumentHelp(
        "Wait until the jobs have ended; --wait=5m for so long at the most, --wait alone for ever.", valueName: "dur"))
    var wait: String?

    @OptionGroup var options: BackupOptions

    func validate() throws {
        try RestoreCommand.check(wait: wait)
        if !jobs.isEmpty, vault == nil { throw ValidationError("jobs are looked for in their vault: add --vault") }
        if jobs.isEmpty, wait != nil { throw ValidationError("--wait is for jobs that are named") }
    }

    func run() async throws {
        let client = try options.client()
        let found: [RestoreJob]
        if let vault, !jobs.isEmpty {
            let watch = BackupWatch(client: client, vault: vault, type: type, ids: jobs)
            if let wait {
                return try await watch.run(limit: wait == "forever" ? nil : Units.duration(wait), json: options.json)
            }
            found = try await watch.look()
        } else {
            found = try await client.jobs(type, vault: vault)
        }
        if options.json { return printDocument(["jobs": .array(found.map(\.json))]) }
        if found.isEmpty { return printLines(["no restore jobs"]) }
        var table = TextTable(
            rightAligned: [3, 4], rows: [["JOB", "CREATED", "STATUS", "DONE", "SIZE", "VAULT", "SNAPSHOT", "TO"]])
        table.rows += found.map {
            [
                $0.id, $0.createdAt.dateText, "\($0.status)", "\(Int($0.progress * 100))%",
                Units.text(bytes: $0.bytesTotal), $0.vault, $0.snapshot, $0.place,
            ]
        }
        printLines(table.lines)
    }
}
