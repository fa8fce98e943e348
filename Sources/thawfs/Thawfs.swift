import ArgumentParser
import Glibc

struct Thawfs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "thawfs",
        abstract: "Mount object-storage buckets as directories; archived objects thaw when they are read.",
        version: "0.1.0",
        subcommands: [
            MountCommand.self, UmountCommand.self, RestoreCommand.self, StatusCommand.self, CacheCommand.self,
            BucketCommand.self, VaultCommand.self, BackupCommand.self, EmulateCommand.self,
        ]
    )
}

@main
enum Main {
    /// mount(8) calls `mount.thawfs SOURCE MOUNTPOINT -o …` for a file system of type thawfs.
    static func main() async {
        var arguments = CommandLine.arguments
        let name = arguments.removeFirst()
        if name.hasSuffix("/mount.thawfs") || name == "mount.thawfs" { arguments.insert("mount", at: 0) }
        // Other commands have options of the same names.
        switch arguments.first {
        case "mount", "cache", "bucket": arguments = MountOption.rewritten(arguments)
        case "vault": arguments = MountOption.rewritten(RestoreCommand.rewritten(arguments))
        case "restore", "backup": arguments = RestoreCommand.rewritten(arguments)
        default: break
        }
        await Thawfs.main(arguments)
    }
}
