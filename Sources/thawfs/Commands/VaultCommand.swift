import ArgumentParser
import Glibc
import HTTP
import ObjectStore
import ThawCore
import Vaults
import Wire

/// `thawfs vault`: what OAS does with vaults that is no file operation.
struct VaultCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vault", abstract: "Move archives between OAS and OSS, and see a vault's jobs.",
        discussion: """
            The options are those of mount, as far as they are about the endpoint, the region, the profile, ca_file \
            and state_dir.
            """,
        subcommands: [VaultPullCommand.self, VaultPushCommand.self, VaultJobsCommand.self])
}

/// What the commands have in common.
struct VaultOptions: ParsableArguments {
    @Option(name: .customShort("o"), help: "Options as of mount, separated by commas; may be repeated.")
    var options: [String] = []

    @Flag(help: "Print one JSON document.")
    var json = false

    /// The vault of this name, and who is asked about it.
    func open(_ vault: String) async throws -> OpenVault {
        let environment = currentEnvironment()
        let source = try Source("oas://\(vault)")
        let mountOptions = try MountOptions(optionLists: options, environment: environment)
        let configuration = try mountOptions.storeConfiguration(source, environment: environment)
        let http = try mountOptions.httpClient()
        let credentials = CredentialsChain.standard(
            .oas, profile: mountOptions.text(.profile), environment: environment, transport: http)
        let client = VaultClient(configuration.endpoint, credentials: credentials, transport: http)
        let description = try await client.vault(named: vault)
        let states = try [source, Source("oas://")].map {
            try StateLocation($0, configuration, mountOptions, environment).path
        }
        return OpenVault(client: client, id: description.id, region: configuration.region, states: states)
    }
}

struct OpenVault {
    let client: VaultClient
    let id: String
    let region: String
    /// Where mounts of it keep their state.
    let states: [String]

    /// Where OAS finds an object: on the region's internal endpoint.
    func place(_ text: String, host: String?) throws -> OSSPlace {
        let source = try Source(text)
        guard source.dialect == .oss, let bucket = source.bucket, !source.prefix.isEmpty, !text.hasSuffix("/") else {
            throw UsageError("“\(text)”: expected oss://BUCKET/KEY")
        }
        guard let host = host ?? (region.isEmpty ? nil : "oss-\(region)-internal.aliyuncs.com") else {
            throw UsageError("the region is not known: name it (-o region=cn-hangzhou), or the --oss-host")
        }
        // A source ends in a slash, and a key does not.
        let key = String(decoding: source.prefix.bytes.dropLast(), as: UTF8.self)
        return OSSPlace(host: host, bucket: bucket, key: key)
    }

    /// Starts the job, unless one that is for the same is under way: nobody wants it done twice.
    func start(_ order: JobOrder, isSame: (VaultJob) -> Bool) async throws -> VaultJob {
        if let job = try await client.jobs(of: id).first(where: { $0.state == .inProgress && isSame($0) }) {
            printNote("job \(job.id) is at it already")
            return job
        }
        let job: String
        do throws(StoreError) { job = try await client.startJob(order, in: id) } catch {
            // It may have reached the store.
            guard error.isTransient else { throw error }
            let jobs = try await client.jobs(of: id)
            if let job = jobs.last(where: { $0.state == .inProgress && isSame($0) }) { return job }
            throw error
        }
        return try await client.job(job, of: id)
    }

    /// Follows a job to its end, as far as `wait` says, and shows it.
    func follow(_ job: VaultJob, wait: String?, json: Bool) async throws {
        let finished: VaultJob
        switch wait {
        case nil: finished = job
        case let text?:
            let limit = text == "forever" ? nil : Units.duration(text)
            finished = try await JobWatch(vault: self, limit: limit).wait(for: job)
        }
        if json { printDocument(["job": finished.json]) } else { printLines([finished.line(at: .now())]) }
        if finished.state == .failed { throw ExitCode.failure }
        if wait != nil, finished.state == .inProgress { throw ExitCode(124) }
    }
}

/// Looks at a job until it is over.
struct JobWatch {
    let vault: OpenVault
    /// Nil for ever.
    let limit: Duration?
    var interval = Duration.seconds(2)

    func wait(for job: VaultJob) async throws -> VaultJob {
        let stop = StopSignals()
        let watching = Task { try await watch(job) }
        let listening = Task {
            await stop.wait()
            watching.cancel()
        }
        defer { listening.cancel() }
        return try await watching.value
    }

    func watch(_ job: VaultJob) async throws -> VaultJob {
        var (job, display) = (job, ProgressDisplay(environment: currentEnvironment()))
        var shown: VaultJob.State?
        defer { display.end() }
        let deadline = limit.map { ContinuousClock.now + $0 }
        while true {
            let now = Timestamp.now()
            display.show(isNews: shown != job.state, line: job.line(at: now), at: now) { _ in job.line(at: now) }
            shown = job.state
            if job.state != .inProgress { return job }
            if let deadline, .now >= deadline { return job }
            do {
                try await Task.sleep(for: interval)
                job = try await vault.client.job(job.id, of: vault.id)
            } catch let error as StoreError where error.isTransient {
                continue
            } catch {
                guard error is CancellationError || (error as? StoreError)?.kind == .cancelled else { throw error }
                printError("no longer waiting; the job goes on: thawfs vault jobs")
                throw ExitCode(130)
            }
        }
    }
}

extension VaultJob {
    func line(at now: Timestamp) -> String {
        var line = "\(id) \(action?.rawValue ?? "Unknown") \(state.rawValue)"
        if !archive.isEmpty { line += " archive \(archive)" }
        if let completed {
            line += " since \(WireDate.iso8601(completed))"
        } else if let created {
            line += " for \(Units.text(max(now - created, .zero))), of about 4 hours"
        }
        return message.isEmpty ? line : line + ": \(message)"
    }
}

/// `thawfs vault pull-from-oss`
struct VaultPullCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull-from-oss", abstract: "Make an archive of an object of OSS, without sending it through here.",
        usage: "thawfs vault pull-from-oss VAULT oss://BUCKET/KEY [--as PATH] [--wait[=DUR]] [--json] [-o options]",
        discussion: """
            The archive shows in mounts of the vault at their next mount, or after setfattr -n user.thaw.refresh on \
            the vault's directory.
            """)

    @Argument(help: "The vault.")
    var vault: String

    @Argument(help: "oss://BUCKET/KEY, in the vault's region.")
    var object: String

    @Option(name: .customLong("as"), help: ArgumentHelp(
        "The archive's path in the vault. [default: the key]", valueName: "path"))
    var path: String?

    @Option(help: "The host by which OAS asks OSS. [default: the region's internal one]")
    var ossHost: String?

    @Option(help: ArgumentHelp("Wait until it is done; --wait=5m for so long at the most.", valueName: "dur"))
    var wait: String?

    @OptionGroup var options: VaultOptions

    func validate() throws { try RestoreCommand.check(wait: wait) }

    func run() async throws {
        let vault = try await options.open(vault)
        let place = try vault.place(object, host: ossHost)
        guard let description = ArchiveName.description(ObjectKey(path ?? place.key)) else {
            throw UsageError("“\(path ?? place.key)” is too long for an archive's description of \(ArchiveName.charactersMax) characters; name a shorter one with --as")
        }
        let job = try await vault.start(.pull(place, description: description)) {
            $0.action == .pullFromOSS && $0.description == description
        }
        try await vault.follow(job, wait: wait, json: options.json)
    }
}

/// `thawfs vault push-to-oss`
struct VaultPushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push-to-oss", abstract: "Write an archive to OSS, without reading it through here.",
        usage: "thawfs vault push-to-oss VAULT/PATH oss://BUCKET/KEY [--archive ID] [--wait[=DUR]] [--json] [-o option=value,...]",
        discussion: "Paths are found in the catalogue of the vault's mount; --archive names an archive by its id instead.")

    @Argument(help: "VAULT/PATH, or VAULT with --archive.")
    var source: String

    @Argument(help: "oss://BUCKET/KEY, in the vault's region.")
    var object: String

    @Option(help: ArgumentHelp("The archive's id, as user.thaw.version_id tells it.", valueName: "id"))
    var archive: String?

    @Option(help: "The host by which OAS asks OSS. [default: the region's internal one]")
    var ossHost: String?

    @Option(help: ArgumentHelp("Wait until it is done; --wait=5m for so long at the most.", valueName: "dur"))
    var wait: String?

    @OptionGroup var options: VaultOptions

    func validate() throws { try RestoreCommand.check(wait: wait) }

    func run() async throws {
        let parts = source.split(separator: "/", maxSplits: 1).map(String.init)
        guard let name = parts.first else { throw UsageError("“\(source)”: expected VAULT/PATH") }
        let vault = try await options.open(name)
        let place = try vault.place(object, host: ossHost)
        let archive = try archive ?? find(parts.count > 1 ? parts[1] : "", in: vault)
        let order = JobOrder.push(archive: archive, place)
        let job = try await vault.start(order) {
            $0.action == .pushToOSS && $0.archive == archive && $0.description == order.description
        }
        try await vault.follow(job, wait: wait, json: options.json)
    }

    private func find(_ path: String, in vault: OpenVault) throws -> String {
        for state in vault.states {
            let catalogue = Catalogue.path(in: state)
            guard access(catalogue, F_OK) == 0 else { continue }
            let archive = try Catalogue.archive(ObjectKey(path), in: vault.id, ofCatalogueAt: catalogue)
            if let archive { return archive }
        }
        throw UsageError("no catalogue of a mount of this vault has “\(path)”: mount it, or name the archive with --archive")
    }
}

/// `thawfs vault jobs`
struct VaultJobsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobs", abstract: "List a vault's jobs.", usage: "thawfs vault jobs VAULT [--json] [-o option=value,...]")

    @Argument(help: "The vault.")
    var vault: String

    @OptionGroup var options: VaultOptions

    func run() async throws {
        let vault = try await options.open(vault)
        let jobs = try await vault.client.jobs(of: vault.id)
        if options.json { return printDocument(["jobs": .array(jobs.map(\.json))]) }
        printLines(jobs.isEmpty ? ["no jobs"] : jobs.map { $0.line(at: .now()) })
    }
}
