"""The ResNet-18 that benchmarks compare with, in PyTorch."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """A basic residual block with a 1x1 shortcut where the shape changes."""

    def __init__(self, inputs, outputs, stride, average):
        super().__init__()
        self.average = average
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        """Two convolutions and the shortcut."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        total = y + self.shortcut(x)
        return torch.relu(total / 2 if self.average and len(self.shortcut) else total)


class ResNet18(nn.Module):
    """The ResNet-18 used on CIFAR: 3x3 first convolution, no first pooling; input 3x32x32.

    With `average`, blocks with a 1x1 shortcut average their branches, as in specclip-lab.
    """

    def __init__(self, average=False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        blocks, inputs = [], 64
        for outputs, stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
            blocks.append(nn.Sequential(Block(inputs, outputs, stride, average), Block(outputs, outputs, 1, average)))
            inputs = outputs
        self.stages = nn.Sequential(*blocks)
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        """Scores of 10 classes."""
        x = self.stages(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))
