import ArgumentParser
import Backup
import Logging
import ObjectStore
import ThawCore
import Wire

/// `thawfs backup`: Cloud Backup (HBR) of Alibaba Cloud, of which a bucket of the account may be the target.
struct BackupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Find snapshots of Cloud Backup, and restore them into a bucket.",
        subcommands: [
            BackupVaultsCommand.self, BackupSnapshotsCommand.self, BackupRestoreCommand.self, BackupJobsCommand.self,
            BackupCancelCommand.self,
        ])
}

/// Where Cloud Backup is, and who asks it: what the mount's options of the same names mean.
struct BackupOptions: ParsableArguments {
    @Option(help: "The region of the vaults. [default: THAWFS_REGION or OSS_REGION]")
    var region: String?

    @Option(help: "Where Cloud Backup answers. [default: THAWFS_HBR_ENDPOINT, or hbr.REGION.aliyuncs.com]")
    var endpoint: String?

    @Option(help: "A profile of the vendor's shared credentials file. [default: the environment, then as a mount]")
    var profile: String?

    @Option(help: "A PEM file of certificate authorities.")
    var caFile: String?

    @Flag(help: "Print one JSON document.")
    var json = false

    func client() throws -> BackupClient {
        let environment = currentEnvironment()
        var given = environment
        for (option, value) in [MountOption.profile: profile, .caFile: caFile, .region: region] {
            if let value { given[option.variable] = value }
        }
        let options = try MountOptions(optionLists: [], environment: given)
        let http = try options.httpClient()
        return BackupClient(
            try place(options, environment),
            credentials: CredentialsChain.standard(
                .oss, profile: options.text(.profile), environment: environment, transport: http),
            transport: http, logger: Logger(label: "thawfs") { LogLine(label: $0, level: .notice, descriptor: 2) })
    }

    private func place(_ options: MountOptions, _ environment: [String: String]) throws -> Endpoint {
        if let endpoint = endpoint ?? options.text(.backupEndpoint) { return try Endpoint(endpoint) }
        guard let region = options.text(.region) ?? environment["OSS_REGION"], !region.isEmpty else {
            throw UsageError("which region? Say --region, such as cn-hangzhou, or --endpoint")
        }
        return BackupClient.endpoint(region: region)
    }
}

extension BackupType: ExpressibleByArgument {}

/// `thawfs backup vaults`
struct BackupVaultsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "vaults", abstract: "List the vaults.")

    @OptionGroup var options: BackupOptions

    func run() async throws {
        let vaults = try await options.client().vaults()
        if options.json { return printDocument(["vaults": .array(vaults.map(\.json))]) }
        if vaults.isEmpty { return printLines(["no vaults"]) }
        var table = TextTable(rightAligned: [3], rows: [["VAULT", "REGION", "STATUS", "SIZE", "CREATED", "NAME"]])
        table.rows += vaults.map {
            [$0.id, $0.region, $0.status, Units.text(bytes: $0.bytesDone), $0.createdAt?.dateText ?? "-", $0.name]
        }
        printLines(table.lines)
    }
}

/// `thawfs backup snapshots`
struct BackupSnapshotsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshots", abstract: "List a vault's snapshots, the oldest first.")

    @Option(help: ArgumentHelp("The vault.", valueName: "v"))
    var vault: String

    @Option(help: "What was backed up: OSS, ECS_FILE or NAS.")
    var type = BackupType.oss

    @Option(help: "Only of this bucket, which the service may want to be told for OSS.")
    var bucket: String?

    @Option(help: "Only of this instance, for ECS_FILE.")
    var instance: String?

    @Option(help: "Only of this file system, for NAS.")
    var fileSystem: String?

    @Option(help: "When the file system was made, in Unix seconds, for NAS.")
    var createTime: Int64?

    @OptionGroup var options: BackupOptions

    func run() async throws {
        var search = SnapshotSearch(vault: vault, type: type)
        search.bucket = bucket
        search.instance = instance
        search.fileSystem = fileSystem
        search.fileSystemCreatedAt = createTime
        let snapshots = try await options.client().snapshots(search)
        if options.json { return printDocument(["snapshots": .array(snapshots.map(\.json))]) }
        if snapshots.isEmpty { return printLines(["no snapshots"]) }
        var table = TextTable(
            rightAligned: [2, 3], rows: [["SNAPSHOT", "COMPLETED", "FILES", "SIZE", "STATUS", "CLASS", "FROM"]])
        table.rows += snapshots.map {
            [
                $0.id, $0.completedAt?.dateText ?? "-", Units.count($0.items), Units.text(bytes: $0.bytes), $0.status,
                $0.storageClass, $0.origin,
            ]
        }
        printLines(table.lines)
    }
}

/// `thawfs backup cancel`
struct BackupCancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Cancel restore jobs. What they have restored stays.")

    @Argument(help: "The jobs, as thawfs backup jobs shows them.")
    var jobs: [String]

    @Option(help: ArgumentHelp("Their vault.", valueName: "v"))
    var vault: String

    @OptionGroup var options: BackupOptions

    func run() async throws {
        let client = try options.client()
        var failures = 0
        for job in jobs {
            do throws(BackupError) {
                try await client.cancel(job, vault: vault)
                if !options.json { printLines(["job \(job) is being cancelled"]) }
            } catch {
                failures += 1
                printError("job \(job): \(error)")
            }
        }
        if options.json { printDocument(["cancelled": JSON(jobs.count - failures), "failed": JSON(failures)]) }
        if failures > 0 { throw ExitCode.failure }
    }
}
