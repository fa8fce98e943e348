import ArgumentParser
import Control
import Glibc
import Restore
import ThawCore
import Wire

/// `thawfs restore`: asks the daemons of the mounts that the paths are on to have them restored.
struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Restore archived files ahead of reading them.",
        usage: """
            thawfs restore PATH... [-r] [--days N] [--tier T] [--wait[=DUR]] [--dry-run] [--files-from F] [-0]
                           [--max-bytes N] [--json]
            """,
        discussion: """
            Prints the number of the request, which the daemon keeps also through a crash and a remount: thawfs status \
            NUMBER shows it. With --wait it returns when all is restored (0), when something was not (1), or when the \
            time has run out (124).
            """)

    @Argument(help: "Files, and with -r directories, of one or several mounts.")
    var paths: [String] = []

    @Flag(name: [.short, .long], help: "Restore all that is below a directory.")
    var recursive = false

    @Option(help: ArgumentHelp(
        "How many days the copies are to last, within what each class takes. [default: the mount's restore_days]",
        valueName: "n"))
    var days: Int?

    @Option(help: ArgumentHelp(
        "Expedited, Standard or Bulk, where the class has it. [default: the class's own]", valueName: "t"))
    var tier: String?

    @Option(help: ArgumentHelp(
        "Wait until all is restored; --wait=5m for so long at the most, --wait alone for ever.", valueName: "dur"))
    var wait: String?

    @Flag(help: "Only say what would be restored, how long that takes and what is billed. Sends nothing.")
    var dryRun = false

    @Option(help: ArgumentHelp(
        "Read more paths from this file, one in each line; - is the standard input.", valueName: "f"))
    var filesFrom: String?

    @Flag(name: [.customShort("0"), .customLong("null")], help: "The paths of --files-from end in NUL, not at the line's end.")
    var isNullSeparated = false

    @Option(help: ArgumentHelp("Restore nothing if it were more than this, such as 100G.", valueName: "n"))
    var maxBytes: String?

    @Flag(help: "Print one JSON document.")
    var json = false

    /// An option whose value may be left out, which the parser does not know: `--wait` becomes `--wait=forever`.
    static func rewritten(_ arguments: [String]) -> [String] {
        let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
        return arguments[..<end].map { $0 == "--wait" ? "--wait=forever" : $0 } + arguments[end...]
    }

    static func check(wait: String?) throws {
        if let wait, wait != "forever", Units.duration(wait) == nil {
            throw ValidationError("--wait=\(wait): a duration such as 30s, 5m, 12h or 7d")
        }
    }

    func validate() throws {
        if paths.isEmpty, filesFrom == nil { throw ValidationError("name files to restore, or --files-from") }
        if let days, days < 1 { throw ValidationError("--days \(days): at least 1") }
        if let tier, wishedTier == nil { throw ValidationError("--tier \(tier): one of Expedited, Standard, Bulk") }
        try Self.check(wait: wait)
        if let maxBytes, Units.bytes(maxBytes) == nil {
            throw ValidationError("--max-bytes \(maxBytes): a size such as 500M, 100G or 2T")
        }
        if dryRun, wait != nil { throw ValidationError("--dry-run restores nothing that could be waited for") }
    }

    private var wishedTier: RestoreTier? {
        RestoreTier.allCases.first { $0.rawValue.lowercased() == tier?.lowercased() }
    }

    func run() async throws {
        let plan = RestorePlan(
            groups: try selection(), wish: RestoreWish(days: days, tier: wishedTier), isDryRun: dryRun,
            bytesMax: maxBytes.flatMap { Units.bytes($0) })
        var parts = try plan.survey()
        if !json { plan.describe(parts) }
        try plan.check(parts)
        if !dryRun { try plan.send(&parts, quietly: json) }
        let requests = parts.compactMap { part in part.request.map { (daemon: part.group.daemon, id: $0) } }
        guard let wait, !requests.isEmpty else {
            if json { printDocument(plan.json(parts)) }
            return
        }
        try await watch(requests, wait == "forever" ? nil : Units.duration(wait), plan, parts)
    }

    /// What the paths name. When any is bad, all the bad ones are named and nothing is done.
    private func selection() throws -> [PathSelection.Group] {
        var typed = CommandLineBytes.ofProcess()
        var named = paths.map { typed.path($0) }
        if let filesFrom { named += try readPaths(filesFrom, isNullSeparated: isNullSeparated) }
        let selection = try Patience(with: "") { [recursive, named] next in
            var selection = PathSelection(isRecursive: recursive)
            for path in named {
                next("\(path)")
                selection.add(path)
            }
            return selection
        }.value()
        for complaint in selection.complaints.dropLast() { printError(complaint) }
        if let last = selection.complaints.last { throw UsageError("\(last)\nnothing was restored") }
        return selection.selected
    }

    private func watch(
        _ requests: [(daemon: Daemon, id: Int64)], _ limit: Duration?, _ plan: RestorePlan, _ parts: [RestorePlan.Part]
    ) async throws {
        let display = ProgressDisplay(environment: currentEnvironment())
        let outcome = try await RestoreWatch(requests: requests, limit: limit).wait(showingOn: display)
        let later = requests.map { "thawfs status \($0.id)" }.joined(separator: ", ")
        switch outcome {
        case .interrupted:
            printError("no longer waiting; the restore goes on: \(later)")
            throw ExitCode(130)
        case .timedOut:
            printError("not all is restored yet, and the restore goes on: \(later)")
            throw ExitCode(124)
        case .lost(let error):
            printError("\(error)\nthe restore goes on, with the next mount: \(later)")
            throw ExitCode.failure
        case .finished(let summaries):
            let progress = RestoreProgress(summaries)
            if json { printDocument(plan.json(parts, summaries)) } else { printLines([progress.line(at: .now())]) }
            guard let shortfall = progress.shortfall else { return }
            printError(shortfall)
            throw ExitCode.failure
        }
    }
}

/// Writes lines to the standard error, as the parser writes its own; without control characters.
func printError(_ text: String) {
    let bytes = Array("Error: \(text.printableLines)\n".utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
}
