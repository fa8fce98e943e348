import Control
import Glibc
import Metadata
import Restore
import ThawCore
import Wire

/// A restore that a command asks for: looked at first, and sent as one request for each mount.
struct RestorePlan {
    struct Part {
        let group: PathSelection.Group
        let mount: JSON
        let survey: Survey
        /// The number of the request that was made, if one was.
        var request: Int64?
    }

    let groups: [PathSelection.Group]
    let wish: RestoreWish
    let isDryRun: Bool
    let bytesMax: UInt64?

    /// What is there to be restored. Sends no restore.
    func survey() throws -> [Part] {
        try groups.map { group in
            let reply = try ask("survey", group)
            return Part(
                group: group, mount: reply["mount"] ?? .null,
                survey: try group.daemon.expect(reply["survey"].flatMap { Survey($0) }, in: reply))
        }
    }

    /// Refuses as a whole what names objects that are not there, or is more than `--max-bytes`.
    func check(_ parts: [Part]) throws {
        let missing = parts.flatMap(\.survey.missing).map { "\($0)".printable }
        for key in missing.dropLast() { printError("\(key) is not there any more") }
        if let last = missing.last { throw UsageError("\(last) is not there any more\nnothing was restored") }
        let bytes = parts.map(\.survey.frozen.bytes).reduce(0, +)
        guard let bytesMax, bytes > bytesMax else { return }
        throw UsageError(
            """
            \(Units.text(bytes: bytes)) would be restored, \(Units.text(bytes: bytes - bytesMax)) more than \
            --max-bytes allows; nothing was restored
            """)
    }

    /// Makes the requests, and says so.
    func send(_ parts: inout [Part], quietly isQuiet: Bool) throws {
        for index in parts.indices where parts[index].survey.isNeeded {
            let (group, survey) = (parts[index].group, parts[index].survey)
            let reply = try ask("restore", group)
            let id = try group.daemon.expect(reply["id"]?.int.map { Int64($0) }, in: reply)
            parts[index].request = id
            if isQuiet { continue }
            printLines([label(group) + "request \(id): \(survey.requestText)"])
        }
    }

    private func ask(_ command: String, _ group: PathSelection.Group) throws -> JSON {
        let requester = Caller(thread: getpid(), uid: getuid(), gid: getgid())
        return try group.daemon.ask(
            [
                "command": .string(command), "days": JSON(wish.days), "tier": JSON(wish.tier?.rawValue),
                "requester": JSON("\(requester)"), "target": JSON(target(group.scopes)),
            ], followedBy: group.scopes.lazy.map(\.json), and: ["end": true])
    }

    // MARK: Text

    /// What the request is about, as `thawfs status` shows it.
    private func target(_ scopes: [RestoreScope]) -> String {
        if scopes.count == 1, let scope = scopes.first { return scope.key.isEmpty ? "/" : "\(scope.key)" }
        let trees = scopes.count { $0.kind == .tree }
        let kinds = [(trees, "director\(trees == 1 ? "y" : "ies")"), (scopes.count - trees, "files")]
        return kinds.filter { $0.0 > 0 }.map { "\(Units.count($0.0)) \($0.1)" }.joined(separator: ", ")
    }

    /// The dry run's findings, or that there is nothing to do.
    func describe(_ parts: [Part]) {
        for part in parts {
            if isDryRun {
                printLines([part.group.daemon.mountpoint + ":"])
                printLines(part.survey.lines, indentedBy: 2)
            } else if !part.survey.isNeeded {
                printLines([
                    label(part.group) + "nothing needs restoring: \(part.survey.readable.text), readable"
                ])
            }
        }
        if isDryRun { printLines(["nothing was sent"]) }
    }

    private func label(_ group: PathSelection.Group) -> String {
        groups.count > 1 ? "\(group.daemon.mountpoint): " : ""
    }

    func json(_ parts: [Part], _ finished: [RequestSummary] = []) -> JSON {
        var finished = finished[...]
        let mounts = parts.map { part -> JSON in
            let summary = part.request == nil ? nil : finished.popFirst()
            return [
                "mount": part.mount, "survey": part.survey.json, "id": part.request.map { JSON($0) } ?? .null,
                "request": summary?.json ?? .null,
            ]
        }
        return ["dry_run": .bool(isDryRun), "mounts": .array(mounts)]
    }
}
