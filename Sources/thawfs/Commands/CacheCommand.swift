import ArgumentParser
import Control
import Glibc
import Logging
import Metadata
import ThawCore
import Upload

/// `thawfs cache`: what is kept on this machine.
struct CacheCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cache", abstract: "Look after what is kept on this machine.",
        subcommands: [
            CacheRecoverCommand.self, CacheImportCommand.self, CacheVerifyCommand.self, CacheClearCommand.self,
        ])
}

/// `thawfs cache recover`: for what a mount has accepted and cannot store.
struct CacheRecoverCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover", abstract: "List what was accepted and is not stored, or copy it out.",
        usage: "thawfs cache recover SOURCE|MOUNTPOINT [--to DIR [--forget]] [--json] [-o option=value,...]",
        discussion: """
            A mountpoint is of a mount that runs; a source (with the options it is mounted with, as far as they are \
            about its region, endpoint and state_dir) need not be mounted. What is copied out stays where it is, and \
            is stored as soon as a mount can; with --forget, of a source that is not mounted, what was copied \
            out whole is given up here instead.
            """)

    @Argument(help: "oss://BUCKET[/PREFIX], s3://BUCKET[/PREFIX], oas://VAULT[/PREFIX], or where it is mounted.")
    var subject: String

    @Option(help: ArgumentHelp(
        "Copy the files there, each under its key. Nothing is overwritten.", valueName: "dir"))
    var to: String?

    @Flag(help: "Forget what was copied out whole: no mount stores it any more.")
    var forget = false

    @Flag(help: "Print one JSON document.")
    var json = false

    @Option(name: .customShort("o"), help: "Options of the mount, separated by commas; may be repeated.")
    var options: [String] = []

    func run() async throws {
        if forget {
            guard to != nil else { throw UsageError("--forget is for what is copied out: it needs --to") }
            guard subject.contains("://") else { throw UsageError("--forget needs the source, unmounted") }
        }
        // Held until the end: nobody mounts the source meanwhile.
        let state = forget ? try StateDirectory(path: try statePath(), holder: "thawfs cache recover") : nil
        let uploads = if let state { try await Self.journalled(in: state.path) } else { try await uploads() }
        guard let to else { return show(uploads) }
        var recovery = Recovery(directory: Path(bytes: to.utf8).absolute)
        let outcomes = uploads.map { recovery.recover($0) }
        if json {
            printDocument(["recovered": .array(outcomes.map(\.json))])
        } else {
            printLines(outcomes.lazy.filter { $0.failure == nil }.map(\.line))
            if outcomes.isEmpty { printLines(["nothing waits to be stored"]) }
        }
        if let state { try await Self.forget(outcomes, in: state) }
        let failures = outcomes.filter { $0.failure != nil }
        for outcome in failures { printError(outcome.line) }
        if !failures.isEmpty { throw ExitCode.failure }
    }

    private func show(_ uploads: [UploadSummary]) {
        if json { return printDocument(["uploads": .array(uploads.map(\.jsonWithRanges))]) }
        guard !uploads.isEmpty else { return printLines(["nothing waits to be stored"]) }
        printLines(UploadProgress(uploads).lines)
        printLines(UploadSummary.table(uploads, at: .now()), indentedBy: 2)
        let directories = Set(uploads.map { $0.stagingPath.split(separator: "/").dropLast().joined(separator: "/") })
        printLines(directories.sorted().map { "kept in /\($0)" })
    }

    // MARK: Finding

    private func uploads() async throws -> [UploadSummary] {
        guard subject.contains("://") else {
            var typed = CommandLineBytes.ofProcess()
            let path = typed.path(subject)
            return try Patience(with: "\(path)") { _ in try Daemon(servingPath: path) }.value().uploads()
        }
        let state = try statePath()
        if let daemon = Daemon(ofState: state) {
            do { return try daemon.uploads() } catch let error as DaemonError {
                guard case .notListening = error.cause else { throw error }
            }
        }
        return try await Self.journalled(in: state)
    }

    private func statePath() throws -> String { try StateLocation(ofMounted: subject, optionLists: options).path }

    /// Of a source that nobody has mounted.
    private static func journalled(in state: String) async throws -> [UploadSummary] {
        let database = StateDirectory.databasePath(in: state)
        guard access(database, F_OK) == 0 else { return [] }
        let reader = MetadataReader(path: database, executor: try ThreadExecutor(name: "db-reader"))
        let staging = StagingLocation.current(in: state) ?? state
        return try await reader.pendingUploads().map { UploadSummary($0, in: staging) } + StagingArea.lost(in: staging)
    }

    /// Nobody stores what was copied out whole, and its room is free again.
    private static func forget(_ outcomes: [Recovery.Outcome], in state: StateDirectory) async throws {
        let writer = try MetadataWriter(
            path: state.databasePath, executor: try ThreadExecutor(name: "db-writer"),
            log: Logger(label: "thawfs") { LogLine(label: $0, level: .warning, descriptor: STDERR_FILENO) })
        for outcome in outcomes where outcome.failure == nil && outcome.upload.isComplete {
            let path = outcome.upload.stagingPath
            for row in writer.left.uploads where path.hasSuffix("/staging/" + row.staging) {
                try await writer.dropUpload(row.id)
            }
            unlink(path)
        }
        await writer.checkpoint()
    }
}
