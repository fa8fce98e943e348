import ArgumentParser
import Glibc
import ThawCore
import Upload

/// `thawfs umount`: as umount(8) for mounts of this user, with or without root, once all is stored.
struct UmountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "umount", abstract: "Unmount a bucket, once what was written to it is stored.",
        usage: "thawfs umount MOUNTPOINT [--now]",
        discussion: """
            With write_back, files are closed before they are stored: it waits for that, and shows how far it is. \
            Ctrl-C leaves the mount as it is, and so does it when all that is left has failed. With --now it waits for \
            nothing: what is left is stored by the next mount.
            """)

    @Argument(help: "Where it is mounted.")
    var mountpoint: String

    @Flag(name: [.customShort("f"), .long], help: "Do not wait; say what is not stored yet.")
    var now = false

    func run() async throws {
        let path = try pathOfMount(mountpoint)
        let daemon = Self.daemon(of: path)
        var rest: [UploadSummary] = []
        if let daemon {
            do {
                if now { rest = try daemon.uploads().filter { $0.stage != .kept } } else { try await wait(for: daemon) }
            } catch let error as DaemonError {
                // Nothing is lost by it: what was accepted is journalled, and the next mount stores it.
                printNote("\(error); it is unmounted without knowing what is not stored yet")
            }
        }
        try unmount(path)
        if rest.isEmpty { return }
        // Else the daemon goes on with them, and nobody else can mount the source meanwhile.
        _ = try? daemon?.ask(["command": "leave"])
        printNote("\(UploadProgress(rest).line); kept in \(Self.directory(of: rest)), and stored by the next mount")
    }

    private static func directory(of uploads: [UploadSummary]) -> String {
        "/" + (uploads.first?.stagingPath.split(separator: "/").dropLast().joined(separator: "/") ?? "")
    }

    private func wait(for daemon: Daemon) async throws {
        let display = ProgressDisplay(environment: currentEnvironment())
        switch try await UploadWatch(daemon: daemon).wait(showingOn: display) {
        case .stored: return
        case .failed(let rest):
            printError("\(daemon.mountpoint) is still mounted: \(UploadProgress(rest).line)")
            printNote("kept in \(Self.directory(of: rest)), and tried again; thawfs cache recover copies it out, --now leaves it to the next mount")
            throw ExitCode.failure
        case .interrupted(let progress):
            printError("\(daemon.mountpoint) is still mounted: \(progress.line); --now unmounts without waiting")
            throw ExitCode(130)
        }
    }

    /// Nil where there is none to ask: the mount is dead, or of something else.
    private static func daemon(of path: String) -> Daemon? {
        guard MountTable.entry(at: path)?.isThawfs ?? false else { return nil }
        do {
            return try Patience(with: path) { _ in Result { try Daemon(servingPath: Path(bytes: path.utf8)) } }
                .value().get()
        } catch {
            return nil
        }
    }
}

/// Writes to the standard error what is no failure.
func printNote(_ text: String) {
    let bytes = Array("\(text.printableLines)\n".utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
}
