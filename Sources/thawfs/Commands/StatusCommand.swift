import ArgumentParser
import Glibc
import Restore
import ThawCore

/// `thawfs status`: what the daemons know of restores, and of what is not stored yet.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show restores, who waits on what, how fast they go, and what is not stored yet.",
        usage: "thawfs status [MOUNTPOINT|PATH|REQUEST] [--json]",
        discussion: """
            Of every mount without an argument; of one mount by its mountpoint; of a file or directory by its path; of \
            one request by its number (./17 is a path).
            """)

    @Argument(help: "A mountpoint, a path on a mount, or the number of a request.")
    var subject: String?

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() throws {
        guard let subject else { return try showAll() }
        if let id = Int64(subject) { return try show(request: id) }
        var typed = CommandLineBytes.ofProcess()
        let path = typed.path(subject)
        switch try Patience(with: "\(path)", { _ in try Self.look(at: path) }).value() {
        case .mount(let daemon): try show(daemon)
        case .file(let status): if json { printDocument(status.json) } else { printLines(status.lines) }
        }
    }

    private enum Found {
        case mount(Daemon)
        case file(PathStatus)
    }

    private static func look(at path: Path) throws -> Found {
        // Says in its own words why it cannot be asked, if it cannot: no such path, not a mount of ours, not yours.
        let daemon = try Daemon(servingPath: path)
        if daemon.mountpoint == path.absolute { return .mount(daemon) }
        return .file(try PathStatus(path, on: daemon.mountpoint))
    }

    // MARK: Mounts

    private func showAll() throws {
        let survey = Self.askEveryone(["command": "status"])
        if json {
            printDocument(["mounts": .array(survey.replies.map(\.reply)), "unreachable": survey.unreachable])
            return
        }
        for (daemon, reply) in survey.replies { printLines(try status(daemon, reply).lines(at: .now())) }
        printLines(survey.complaints.map(\.text))
        if survey.replies.isEmpty, survey.complaints.isEmpty { printLines(["no mounts of thawfs"]) }
    }

    private func show(_ daemon: Daemon) throws {
        let reply = try daemon.ask(["command": "status"])
        if json { return printDocument(["mounts": [reply], "unreachable": []]) }
        printLines(try status(daemon, reply).lines(at: .now()))
    }

    private func status(_ daemon: Daemon, _ reply: JSON) throws -> MountStatus {
        try daemon.expect(MountStatus(reply), in: reply)
    }

    // MARK: Requests

    private func show(request id: Int64) throws {
        let survey = Self.askEveryone(["command": "request", "id": JSON(id)])
        let found = survey.replies.filter { $0.reply["request"] ?? .null != .null }
        guard !found.isEmpty else {
            for (_, complaint) in survey.complaints { printError(complaint) }
            throw UsageError("no mount that you may ask knows a request \(id)")
        }
        if json { return printDocument(["requests": .array(found.map(\.reply))]) }
        for (daemon, reply) in found {
            let request = try daemon.expect(reply["request"].flatMap { RequestSummary($0) }, in: reply)
            printLines(request.lines(on: daemon.mountpoint, at: .now()))
        }
    }

    // MARK: Asking

    private struct Answers {
        var replies: [(daemon: Daemon, reply: JSON)] = []
        var complaints: [(mountpoint: String, text: String)] = []

        var unreachable: JSON {
            .array(complaints.map { ["mountpoint": .string($0.mountpoint), "error": .string($0.text)] })
        }
    }

    /// Asks the daemon of every mount, each once, wherever it is mounted besides.
    private static func askEveryone(_ command: JSON) -> Answers {
        var answers = Answers()
        var seen: Set<String> = []
        let entries = MountTable.entries().filter { $0.isThawfs && seen.insert($0.device).inserted }
        let mountpoints = entries.map(\.mountpoint)
        // All at once, so that several that do not answer cost no more time than one.
        let found = mountpoints.map { mountpoint in
            Result {
                try Patience(with: mountpoint) { _ in try Daemon(servingPath: Path(bytes: mountpoint.utf8)) }
            }
        }
        for (mountpoint, daemon) in zip(mountpoints, found) {
            do {
                let daemon = try daemon.get().value()
                answers.replies.append((daemon, try daemon.ask(command)))
            } catch {
                answers.complaints.append((mountpoint, "\(error)"))
            }
        }
        return answers
    }
}
