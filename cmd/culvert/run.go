package main

import (
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"culvert/internal/conf/config"
	"culvert/internal/gateway"
)

func runCommand() *cobra.Command {
	var file, name, socket, keyLog string
	var binds []string
	c := &cobra.Command{
		Use:   "run -c FILE [--name HOSTNAME] [--socket PATH] [--bind IFNAME=DEV]...",
		Short: "Run the gateway in the foreground",
		Long: "Run the gateway in the foreground until SIGINT or SIGTERM. Interesting traffic stays closed afterwards:\n" +
			"see culvert guard. SIGHUP, as culvert reload, reads FILE again. The log goes to stderr, in IOS's words.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(file, c.ErrOrStderr())
			if err != nil {
				return err
			}
			bind, err := parseBinds(binds)
			if err != nil {
				return err
			}
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			g := gateway.New(gateway.Options{
				Load: func() (*config.Config, error) { return reload(file) }, Reloads: hangups,
				Config: cfg, Name: name, Socket: socket, Version: version, Bind: bind, KeyLog: keyLog, Log: c.ErrOrStderr(),
			})
			if err := g.Run(c.Context()); err != nil {
				return no("culvert: %v", err)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "config", "c", "", "configuration in IOS words")
	f.StringVar(&name, "name", "", "hostname, instead of the configuration's")
	f.StringVar(&socket, "socket", "", "control socket (default /run/culvert/HOSTNAME.sock)")
	f.StringArrayVar(&binds, "bind", nil, "Linux device of an interface: GigabitEthernet0/1=eth1")
	f.StringVar(&keyLog, "key-log", "", "directory for Wireshark's key tables; whoever reads them reads the traffic")
	cobra.CheckErr(c.MarkFlagRequired("config"))
	return c
}

// parseBinds reads IFNAME=DEV.
func parseBinds(binds []string) (map[string]string, error) {
	out := map[string]string{}
	for _, b := range binds {
		name, device, ok := strings.Cut(b, "=")
		if !ok || name == "" || device == "" {
			return nil, bad("culvert: --bind %s: expected INTERFACE=DEVICE, for example GigabitEthernet0/1=eth1", b)
		}
		out[name] = device
	}
	return out, nil
}
