//go:build !before134

package main

import (
	"context"

	"github.com/spf13/cobra"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// The kubelet sets up its own signal context; a second one panics.
func newKubeletCommand() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }
